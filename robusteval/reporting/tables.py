"""The table of a report: one row per model, clean beside robust accuracy, error bars and grades in sight."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from robusteval.results import files

MOST_CORRUPTIONS = 6
"""More corrupted views than these are shown as their mean alone."""

UNRELIABLE = "upper bound, potentially unreliable"


def table(metrics: pd.DataFrame) -> pd.DataFrame:
    """Text cells, one row per model: accuracy (%) of every view, then ECE (%) and gamma.

    A value stands with the larger half of its 95% interval; a flagged one carries an exclamation mark, a failed cell
    reads `failed`.
    """
    models = list(dict.fromkeys(metrics["model"]))
    shown = pd.DataFrame(index=pd.Index(models, name="model"))
    accuracy = metrics[metrics["metric"].eq("accuracy") | metrics["error"].notna()]
    views = accuracy[accuracy["kind"].isin(["clean", "attack"])]
    for view in dict.fromkeys(views["view"]):
        rows = views[views["view"].eq(view)]
        shown[_titled(rows)] = _column(rows, models, percent)
    corrupted = accuracy[accuracy["kind"].eq("corruption")]
    names = list(dict.fromkeys(corrupted["view"]))
    for view in names if len(names) <= MOST_CORRUPTIONS else []:
        shown[view] = _column(corrupted[corrupted["view"].eq(view)], models, percent)
    if len(names) > 1:
        mean = corrupted.groupby("model")["value"].mean()
        shown[f"mean of {len(names)} corrupted"] = [f"{100 * mean[model]:.1f}" for model in models]
    clean = metrics[metrics["view"].eq("clean")]
    shown["ece (%)"] = _column(clean[clean["metric"].eq("ece")], models, percent)
    gamma = metrics[metrics["metric"].eq("gamma")]
    for view in dict.fromkeys(gamma["view"]):
        shown["gamma" if view == "linearity" else f"gamma, {view}"] = _column(
            gamma[gamma["view"].eq(view)], models, "{:.3f}".format
        )
    return shown


def notes(metrics: pd.DataFrame) -> list[str]:
    """What a reader must know to read the table, one sentence each."""
    sizes = metrics.groupby("view", sort=False)["n"].max()
    kinds = metrics.drop_duplicates("view").set_index("view")["kind"]
    counts = ", ".join(f"{n} for {', '.join(sizes.index[sizes.eq(n)])}" for n in dict.fromkeys(sizes.dropna()))
    lines = [
        f"Data: {', '.join(dict.fromkeys(metrics['data'].dropna()))}; samples: {counts}.",
        "Accuracy in %, ± the larger half of the 95% interval over samples (Wilson; bootstrap for ECE and gamma).",
        "ECE: top label, 15 equal-width bins, L1, clean view. gamma: local linearity error of the loss, in nats.",
    ]
    if kinds.eq("corruption").any():
        lines.append(
            "Corruptions are generated here with the constants of the data-set family, not the official files."
        )
    if metrics["grade"].eq("quick").any():
        lines.append("quick: a single or short attack; accuracy under it is an upper bound of robust accuracy.")
    flagged = metrics[metrics["flags"].notna()].drop_duplicates(["model", "view"])
    lines += [f"! {row.model}, {row.view}: {UNRELIABLE} ({row.flags})." for row in flagged.itertuples()]
    failed = metrics[metrics["error"].notna()]
    lines += [f"failed: {row.model}, {row.view}: {row.error}" for row in failed.itertuples()]
    return lines


def markdown(shown: pd.DataFrame, remarks: Sequence[str]) -> str:
    """The table in Markdown."""
    head, *body = _cells(shown)
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    rows = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
    return "\n".join([*rows, "", *(f"- {remark}" for remark in remarks), ""])


def latex(shown: pd.DataFrame, remarks: Sequence[str]) -> str:
    """The table in LaTeX, for the package booktabs."""
    head, *body = _cells(shown)
    rows = [" & ".join(_escaped(cell) for cell in line) + r" \\" for line in (head, *body)]
    columns = "l" + "r" * (len(head) - 1)
    lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", rows[0], r"\midrule", *rows[1:], r"\bottomrule"]
    return "\n".join([*(f"% {remark}" for remark in remarks), *lines, r"\end{tabular}", ""])


def write(folder: Path, metrics: pd.DataFrame) -> pd.DataFrame:
    """Write `table.md`, `table.csv` and `table.tex` into a report and return the table."""
    shown, remarks = table(metrics), notes(metrics)
    files.write_text(folder / "table.md", markdown(shown, remarks))
    files.write_text(folder / "table.csv", shown.to_csv())
    files.write_text(folder / "table.tex", latex(shown, remarks))
    return shown


def percent(value: float) -> str:
    """A share as a percentage with one digit."""
    return f"{100 * value:.1f}"


def _titled(rows: pd.DataFrame) -> str:
    view, grades = str(rows["view"].iloc[0]), set(rows["grade"].dropna())
    return f"{view}, quick" if "quick" in grades else view


def _column(rows: pd.DataFrame, models: Sequence[str], shape: Callable[[float], str]) -> list[str]:
    """One text per model: value, error bar, mark."""
    by_model = {str(row["model"]): row for _, row in rows.iterrows()}
    return [_text(by_model.get(model), shape) for model in models]


def _text(row: "pd.Series[Any] | None", shape: Callable[[float], str]) -> str:
    if row is None:
        return "-"
    if not pd.isna(row["error"]):
        return "failed"
    value, low, high = (float(str(row[name])) for name in ("value", "low", "high"))
    mark = "" if pd.isna(row["flags"]) else " !"
    return f"{shape(value)} ±{shape(max(value - low, high - value))}{mark}"


def _cells(shown: pd.DataFrame) -> list[list[str]]:
    return [
        ["model", *shown.columns],
        *([str(name), *row] for name, row in zip(shown.index, shown.values, strict=True)),
    ]


def _escaped(text: str) -> str:
    for character in "\\&%$#_{}":
        text = text.replace(character, "\\" + character) if character != "\\" else text
    return text.replace("±", r"$\pm$")
