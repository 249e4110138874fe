"""README's table of the bundled checkpoints is that of the committed record."""

from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "reports" / "fashion-mnist"
COLUMNS = {
    "clean": ("clean", "accuracy"),
    "FGSM 8/255": ("fgsm(eps=8/255)", "accuracy"),
    "PGD-10 8/255": ("pgd(eps=8/255, steps=10)", "accuracy"),
    "noise@3": ("gaussian-noise@3", "accuracy"),
    "contrast@3": ("contrast@3", "accuracy"),
    "fog@3": ("fog@3", "accuracy"),
    "ECE": ("clean", "ece"),
    "gamma": ("linearity", "gamma"),
}


def table() -> list[str]:
    """Means over the training seeds, and standard deviations where there are several; rates in %."""
    metrics = pd.read_parquet(FOLDER / "metrics.parquet")
    models = metrics.groupby("variant")["model"].nunique().sort_index().sort_values(ascending=False, kind="stable")
    lines = [f"| variant | seeds | {' | '.join(COLUMNS)} |", "| --- |" + " ---: |" * (len(COLUMNS) + 1)]
    for variant, seeds in models.items():
        cells = [cell(metrics[metrics["variant"] == variant], *place) for place in COLUMNS.values()]
        lines.append(f"| {variant} | {seeds} | {' | '.join(cells)} |")
    return lines


def cell(rows: pd.DataFrame, view: str, metric: str) -> str:
    values = rows.loc[(rows["view"] == view) & (rows["metric"] == metric), "value"]
    scale, digits = (1, 2) if metric == "gamma" else (100, 1)
    text = f"{scale * values.mean():.{digits}f}"
    return text if len(values) == 1 else f"{text} ± {scale * values.std():.{digits}f}"


def test_the_readme_shows_the_record() -> None:
    text = (ROOT / "README.md").read_text()
    assert "\n".join(table()) in text


def test_the_record_is_of_the_bundled_checkpoints() -> None:
    cells = pd.read_parquet(FOLDER / "metrics.parquet")
    assert set(cells["model"]) == {path.stem for path in (ROOT / "checkpoints/fashion-mnist").glob("*.safetensors")}
    assert cells["error"].isna().all()
    # What `robusteval report` makes again of the rest is not committed.
    made = {"metrics.csv", "corruptions.csv", "report.html"}
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file() and path.name not in made) < 15e6
