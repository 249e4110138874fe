"""The tables of the comparison: numbers of `comparison` as cells with intervals, spreads, grades and flags in sight."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pandas as pd

from robusteval.reporting.page import comparison
from robusteval.reporting.page.table import Better, Cell, Column, Table
from robusteval.reporting.tables import UNRELIABLE

GROUPS = {
    comparison.CLEAN: "",
    comparison.ATTACK: "accuracy under attack (%)",
    comparison.CORRUPTION: "accuracy on corruptions (%)",
    comparison.CALIBRATION: "calibration, clean",
    comparison.LINEARITY: "linearity",
}
"""What stands above the columns of a group."""

_UNITS = {"nll": " (nats)", "gamma": " (nats)"}
_NAMES = {"nll": "NLL"}
_SHARES = ("accuracy", "ece")
_HIGHER = ("accuracy", "median-distance")


def of_models(found: pd.DataFrame) -> Table:
    """A row per model, each number over its 95% interval over samples."""
    flags = [part for part in ("grade", "flags", "error") if found[part].notna().any()]
    data = comparison.wide(found, "model", ["low", "high", *flags])
    return _table("models", found, "model", [], _measured, data)


def of_variants(found: pd.DataFrame) -> Table:
    """A row per variant, each mean with the standard deviation over its training seeds.

    Args:
        found: as `comparison.by_variant` gives it.
    """
    seeds = {str(row): Cell(f"{n:d}", n) for row, n in found.groupby("row", sort=False)["seeds"].max().items()}
    flags = [part for part in ("grade", "flags", "error") if found[part].notna().any()]
    data = comparison.wide(found, "row", ["spread", *flags]).rename(columns={"row": "variant"})
    data.insert(1, "seeds", [int(seeds[str(row)].text) for row in data["variant"]])
    return _table("variants", found, "row", [(Column("seeds"), seeds)], _averaged, data)


def percent(value: float) -> str:
    """A share in percent with one digit."""
    return f"{100 * value:.1f}"


def shape(metric: str) -> Callable[[float], str]:
    """How values of a metric are written."""
    if metric in _SHARES or metric.startswith(comparison.AFTER):
        return percent
    return "{:.4f}".format if metric == "median-distance" else "{:.3f}".format


def better(metric: str) -> Better:
    """Whether higher or lower values of a metric are better."""
    return "higher" if metric in _HIGHER else "lower"


def label(column: str, metric: str) -> str:
    """The head of a column with the unit, where the group does not say it."""
    if column == comparison.CLEAN:
        return "clean accuracy (%)"
    if metric == "ece" or metric.startswith(comparison.AFTER):
        return f"ECE{metric.removeprefix('ece')} (%)"
    named = f"gamma, {column}" if metric == "gamma" and column != comparison.LINEARITY else metric
    known = f"{_NAMES.get(named, named)}{_UNITS.get(metric, '')}"
    return column if metric in ("accuracy", "median-distance") else known


def _table(
    name: str,
    found: pd.DataFrame,
    key: str,
    beside: Sequence[tuple[Column, dict[str, Cell]]],
    cell: Callable[["pd.Series[Any]", bool], Cell],
    data: pd.DataFrame,
) -> Table:
    """Columns in the order of the frame; a grade that a whole column has stands in its head."""
    names = [str(row) for row in dict.fromkeys(found[key])]
    heads, filled = [Column(key if key == "model" else "variant", numeric=False)], [[Cell(row) for row in names]]
    for own, cells in beside:
        heads.append(own)
        filled.append([cells[row] for row in names])
    for (group, column, metric), part in found.groupby(["group", "column", "metric"], sort=False):
        grade = _common(part["grade"])
        heads.append(Column(label(str(column), str(metric)), GROUPS[str(group)], grade, better(str(metric))))
        rows = {str(row[key]): row for _, row in part.iterrows()}
        filled.append([cell(rows[row], not grade) if row in rows else Cell("-") for row in names])
    return Table(name, heads, list(zip(*filled, strict=True)), data)


def _common(grades: Iterable[Any]) -> str:
    """The one grade of all numbers but the flagged, whose C their own cells show."""
    known = [grade for grade in dict.fromkeys(grades) if not pd.isna(grade) and grade != "C"]
    return str(known[0]) if len(known) == 1 else ""


def _measured(row: "pd.Series[Any]", own_grade: bool) -> Cell:
    text = shape(str(row["metric"]))
    known = not pd.isna(row["low"]) and math.isfinite(float(row["value"]))
    return _cell(row, f"{text(float(row['low']))} to {text(float(row['high']))}" if known else "", own_grade)


def _averaged(row: "pd.Series[Any]", own_grade: bool) -> Cell:
    text = shape(str(row["metric"]))
    return _cell(row, "" if pd.isna(row["spread"]) else f"± {text(float(row['spread']))}", own_grade)


def _cell(row: "pd.Series[Any]", detail: str, own_grade: bool) -> Cell:
    if not pd.isna(row["error"]):
        return Cell("failed", alarm=" ".join(str(row["error"]).split()))
    if pd.isna(row["value"]):
        return Cell("-")
    value, flagged = float(row["value"]), not pd.isna(row["flags"])
    grade = "" if pd.isna(row["grade"]) else str(row["grade"])
    return Cell(
        shape(str(row["metric"]))(value),
        value,
        detail,
        badge=grade if own_grade or flagged else "",
        alarm=f"{UNRELIABLE}: {row['flags']}" if flagged else "",
        share=value if row["metric"] == "accuracy" else None,
    )
