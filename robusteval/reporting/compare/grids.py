"""A comparison as cells of text for readers, and as long rows of numbers for programs."""

import math
from typing import Any, Literal, NamedTuple

import pandas as pd

from robusteval.reporting.compare.columns import Column
from robusteval.reporting.compare.differences import SEEDS, Tested
from robusteval.reporting.compare.pool import Row
from robusteval.reporting.compare.table import Comparison, Figure


class Shown(NamedTuple):
    """A cell: its text, and whether it is the best of its column or not significantly worse."""

    text: str
    mark: Literal["best", "tied", ""] = ""


class Grid(NamedTuple):
    """A table of text: the first column names the rows."""

    title: str
    head: list[str]
    body: list[list[Shown]]


def grids(comparison: Comparison, intervals: bool = False) -> list[Grid]:
    """The numbers, and below them the differences to the baseline where there is one."""
    unit = [comparison.by, "seeds"] if comparison.by == "variant" else [comparison.by]
    head = [*unit, *(_headed(comparison, column) for column in comparison.columns)]
    body = [[*_named(comparison, row), *_numbers(comparison, row, intervals)] for row in comparison.rows]
    found = [Grid("", head, body)]
    if comparison.differences:
        rows = comparison.rows[1:]
        lines = [[*_named(comparison, row), *_differences(comparison, row)] for row in rows]
        found.append(Grid(f"Difference to {comparison.baseline}", head, lines))
    return found


def _named(comparison: Comparison, row: Row) -> list[Shown]:
    return [Shown(row.name), *([Shown(str(len(row.models)))] if comparison.by == "variant" else [])]


def _headed(comparison: Comparison, column: Column) -> str:
    """The label with the grade of its attack; grade C is the mark of the number that has it."""
    grades = dict.fromkeys(comparison.figures[row.name, column.label].grade for row in comparison.rows)
    words = ["quick" if grade == "quick" else f"grade {grade}" for grade in grades if grade not in (None, "C")]
    return ", ".join([column.label, *words])


def _numbers(comparison: Comparison, row: Row, intervals: bool) -> list[Shown]:
    cells = []
    for column in comparison.columns:
        place = row.name, column.label
        mark: Literal["best", "tied", ""] = ""
        if comparison.leads(place) or comparison.tied(place):
            mark = "best" if comparison.leads(place) else "tied"
        cells.append(Shown(_figure(comparison.figures[place], column, intervals), mark))
    return cells


def _figure(figure: Figure, column: Column, intervals: bool) -> str:
    if figure.failed is not None:
        return "failed"
    if not figure.values:
        return "-"
    text = number(figure.value, column)
    if math.isfinite(figure.spread):
        text += f" ±{number(figure.spread, column)}"
    if intervals and math.isfinite(figure.low):
        text += f" [{number(figure.low, column)}, {number(figure.high, column)}]"
    return text if figure.flags is None else f"{text} !"


def _differences(comparison: Comparison, row: Row) -> list[Shown]:
    found = [(comparison.differences.get((row.name, column.label)), column) for column in comparison.columns]
    return [Shown("-" if each is None else _difference(each, column)) for each, column in found]


def _difference(found: Tested, column: Column) -> str:
    value, low, high = (number(each, column, sign=True) for each in found.difference[:3])
    marks = ("*" if found.significant else "") + ("" if found.test == SEEDS else "s")
    return f"{value} [{low}, {high}]" + (f" {marks}" if marks else "")


def number(value: float, column: Column, sign: bool = False) -> str:
    """A number as the table shows it: a share in % with one digit, anything else with three.

    Zero has no sign.
    """
    shape = f"{'+' if sign else ''}.{1 if column.percent else 3}f"
    text = format(100 * value if column.percent else value, shape)
    return text.lstrip("+-") if not text.strip("+-0.") else text


LONG = (
    *("row", "models", "seeds", "column", "view", "metric", "radius", "higher_is_better"),
    *("value", "spread", "low", "high", "n", "grade", "flags", "error", "best", "tied"),
    *("baseline", "difference", "difference_low", "difference_high", "p", "p_holm", "test"),
)
"""The columns of the long form; shares are in [0, 1]."""


def long(comparison: Comparison) -> pd.DataFrame:
    """One row per number, with the columns `LONG`: what csv, parquet and json hold."""
    rows = [_long(comparison, row, column) for row in comparison.rows for column in comparison.columns]
    types = dict.fromkeys(("higher_is_better", "best", "tied"), "boolean") | {"n": "Int64"}
    texts = dict.fromkeys(("radius", "grade", "flags", "error", "baseline", "test"), "str")
    return pd.DataFrame(rows, columns=list(LONG)).astype({**types, **texts})


def _long(comparison: Comparison, row: Row, column: Column) -> dict[str, Any]:
    place = row.name, column.label
    figure, found = comparison.figures[place], comparison.differences.get(place)
    return {
        "row": row.name,
        "models": ", ".join(row.models),
        "seeds": len(row.models),
        "column": column.label,
        "view": ", ".join(column.views),
        "metric": column.metric,
        "radius": column.radius,
        "higher_is_better": column.higher_is_better,
        "value": figure.value,
        "spread": figure.spread,
        "low": figure.low,
        "high": figure.high,
        "n": figure.n,
        "grade": figure.grade,
        "flags": figure.flags,
        "error": figure.failed,
        "best": comparison.leads(place),
        "tied": comparison.tied(place),
        "baseline": comparison.baseline,
        **({} if found is None else _tested(found)),
    }


def _tested(found: Tested) -> dict[str, Any]:
    value, low, high, p = found.difference
    ends = {"difference": value, "difference_low": low, "difference_high": high}
    return {**ends, "p": p, "p_holm": found.adjusted, "test": found.test}
