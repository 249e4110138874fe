"""The table of a report: one row per model, clean beside robust accuracy, error bars and grades in sight."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from robusteval.attacks.flags import FLAGS
from robusteval.core.spec import Spec
from robusteval.reporting import corruptions
from robusteval.results import files

MOST_CORRUPTIONS = 6
"""More corrupted views than these are shown as their mean alone."""

UNRELIABLE = "upper bound, potentially unreliable"

HALVES = "Accuracy in %, ± the larger half of the 95% interval over samples (Wilson; bootstrap for ECE and gamma)."
"""How this table writes error bars."""

_LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
}


def table(metrics: pd.DataFrame) -> pd.DataFrame:
    """Text cells, one row per model: accuracy (%) of every view, then ECE (%), as it is and recalibrated, and gamma.

    A value stands with the larger half of its 95% interval; a flagged one carries an exclamation mark, a failed cell
    reads `failed`, one that was not measured `-`.
    """
    models = list(dict.fromkeys(metrics["model"]))
    shown = pd.DataFrame(index=pd.Index(models, name="model"))
    accuracy = _chosen(metrics, "accuracy", ["clean", "attack", "corruption"])
    for view, rows in _by_view(accuracy[accuracy["kind"].ne("corruption")]):
        for name, point in _points(view, rows):
            shown[_graded(name, point)] = _column(point, models, percent)
    for view, rows in _by_view(metrics[metrics["metric"].eq("median-distance")]):
        shown[f"median distance, {_without_eps(view)}"] = _column(rows, models, "{:.4f}".format)
    corrupted = dict(_by_view(accuracy[accuracy["kind"].eq("corruption")]))
    for kind, views in corruptions.kinds(metrics).items():
        if len(corrupted) <= MOST_CORRUPTIONS or len(views) == 1:
            for view in views:
                shown[view] = _column(corrupted[view], models, percent)
        if len(views) > 1:
            parts = [corrupted[view] for view in views]
            shown[f"mean of {len(views)} {kind.label}"] = [_mean(parts, model) for model in models]
    for name, rows in _calibration(metrics):
        shown[name] = _column(rows, models, percent)
    for view, rows in _by_view(_chosen(metrics, "gamma", ["linearity"])):
        shown["gamma" if view == "linearity" else f"gamma, {view}"] = _column(rows, models, "{:.3f}".format)
    return shown


def notes(metrics: pd.DataFrame) -> list[str]:
    """What a reader must know to read the table, one sentence each."""
    sizes = metrics.groupby("view", sort=False)["n"].max()
    views = metrics.drop_duplicates("view")
    counts = "; ".join(f"{n} for {_listed(metrics, sizes.index[sizes.eq(n)])}" for n in dict.fromkeys(sizes.dropna()))
    lines = [
        f"Data: {', '.join(dict.fromkeys(metrics['data'].dropna()))}; samples: {counts}.",
        HALVES,
    ]
    if views["kind"].eq("clean").any():
        lines.append(
            "ECE: top label, 15 equal-width bins, L1, clean view; biased up at small n, as its interval corrects."
        )
    elif views["kind"].eq("attack").any():
        lines.append("Clean accuracy was not measured: robust accuracy means little without it; add the view clean.")
    lines += about_recalibration(metrics, recalibrators(metrics))
    if metrics["metric"].eq("median-distance").any():
        lines.append(
            "Median distance: the radius, in the attack's norm, at which half of the samples are broken, wrong ones "
            "included; inf where fewer are; of a curve one of its radii."
        )
    if views["kind"].eq("linearity").any():
        lines.append("gamma: local linearity error of the loss, in nats.")
    lines += about_corruptions(corruptions.kinds(metrics))
    if metrics["grade"].eq("quick").any():
        lines.append("quick: a single or short attack; accuracy under it is an upper bound of robust accuracy.")
    if metrics["grade"].isin(["A", "B"]).any():
        lines.append("Grade A: AutoAttack's standard version or stronger; grade B: a converged attack with gradients.")
    flagged = metrics[metrics["flags"].notna()].drop_duplicates(["model", "view"])
    lines += [f"! {row.model}, {row.view}: {UNRELIABLE} ({row.flags})." for row in flagged.itertuples()]
    names = dict.fromkeys(name for text in flagged["flags"] for name in str(text).split(", "))
    lines += [f"{name}: {FLAGS[name].says}" for name in names if name in FLAGS]
    failed = metrics[metrics["error"].notna()]
    lines += [f"failed: {row.model}, {row.view}: {row.error}" for row in failed.itertuples()]
    return [" ".join(line.split()) for line in lines]


def _listed(metrics: pd.DataFrame, views: Iterable[str]) -> str:
    """Names of views, many corrupted ones of a kind in a word."""
    left = dict.fromkeys(views)
    for kind, members in corruptions.kinds(metrics).items():
        inside = [view for view in members if view in left]
        if len(inside) > MOST_CORRUPTIONS:
            left = {view: None for view in left if view not in inside} | {f"{len(inside)} {kind.label}": None}
    return ", ".join(left)


def _calibration(metrics: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The columns of ECE: as it is, then after each recalibrator."""
    for metric in ("ece", *(f"ece after {name}" for name in recalibrators(metrics))):
        for view, rows in _by_view(_chosen(metrics, metric, ["clean"])):
            yield f"{metric} (%)" if view == "clean" else f"{metric} (%), {view}", rows


def recalibrators(metrics: pd.DataFrame) -> list[str]:
    """Those after which ECE is shown for the clean view."""
    start = "ece after "
    names = dict.fromkeys(metrics.loc[metrics["kind"].eq("clean"), "metric"].dropna())
    return [str(name).removeprefix(start) for name in names if str(name).startswith(start)]


def about_recalibration(metrics: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """What the maps of some recalibrators were fitted on (TRUST R26)."""
    if not names:
        return []
    fitted = "each half of the samples is scaled by what was fitted on the other half"
    for view in metrics.loc[metrics["kind"].eq("calibration"), "view"].unique():
        split = dict(Spec.parse(view).arguments).get("split", "train")
        fitted = f"fitted on samples of {split}, not on those evaluated"
        fitted += ", and a network may have been trained on some of them" if split == "train" else ""
    return [f"After {', '.join(names)}: {fitted}."]


def about_corruptions(kinds: Mapping[corruptions.Kind, Sequence[str]]) -> list[str]:
    """Where the corrupted images come from, and what their means are means of (TRUST R21 to R23)."""
    lines = []
    if any(not kind.stored for kind in kinds):
        lines.append(
            "Corruptions are generated here with the constants of the data-set family, not the official files; "
            "their mean is over the views, unnormalised."
        )
    if any(kind.origin == "official" for kind in kinds):
        lines.append("official: corrupted images of a stored set that others made; their mean is over the views.")
    if any(kind.stored and kind.origin == "generated" for kind in kinds):
        lines.append("stored: corrupted images that robusteval corrupt made, read from disk; they are not official.")
    for kind, views in kinds.items():
        whole = 0 if kind.set == "other" else len(corruptions.expected(kind))
        if 1 < len(views) < whole:
            lines.append(
                f"The mean of {len(views)} {kind.label} is not the score of the set, which is over all {whole} of its "
                "corruptions and severities."
            )
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
    rows = [" & ".join(escaped(cell) for cell in line) + r" \\" for line in (head, *body)]
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


def _chosen(metrics: pd.DataFrame, metric: str, kinds: Iterable[str]) -> pd.DataFrame:
    """The rows of one metric in views of some kinds, and the failures among those views."""
    return metrics[metrics["kind"].isin(list(kinds)) & (metrics["metric"].eq(metric) | metrics["error"].notna())]


def _by_view(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The rows of each view, in the order of the record."""
    return [(str(view), part) for view, part in rows.groupby("view", sort=False)]


def _points(view: str, rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The rows of each radius of a curve with its name; any other view as it is."""
    radii = rows["eps_text"].dropna()
    if radii.nunique() < 2:
        return [(view, rows)]
    failed = rows["error"].notna()
    return [(f"{_without_eps(view)} at {eps}", rows[rows["eps_text"].eq(eps) | failed]) for eps in dict.fromkeys(radii)]


def _without_eps(view: str) -> str:
    parsed = Spec.parse(view)
    return str(replace(parsed, arguments=tuple((key, value) for key, value in parsed.arguments if key != "eps")))


def _graded(view: str, rows: pd.DataFrame) -> str:
    """The view with the grade of its attack; a number with a flag has grade C, which its mark says."""
    grades = [grade for grade in dict.fromkeys(rows["grade"].dropna()) if grade != "C"]
    return ", ".join([view, *("quick" if grade == "quick" else f"grade {grade}" for grade in grades)])


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
    if not math.isfinite(value):
        return shape(value)
    mark = "" if pd.isna(row["flags"]) else " !"
    return f"{shape(value)} ±{shape(max(value - low, high - value))}{mark}"


def _mean(views: Sequence[pd.DataFrame], model: str) -> str:
    """The mean over views, where the model has a value in each of them."""
    rows = pd.concat([view[view["model"].eq(model)] for view in views])
    if rows["error"].notna().any():
        return "failed"
    return percent(float(rows["value"].mean())) if len(rows) == len(views) else "-"


def _cells(shown: pd.DataFrame) -> list[list[str]]:
    return [
        ["model", *shown.columns],
        *([str(name), *row] for name, row in zip(shown.index, shown.values, strict=True)),
    ]


def escaped(text: str) -> str:
    """The text as LaTeX prints it."""
    return "".join(_LATEX.get(character, character) for character in text)
