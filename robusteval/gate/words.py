"""What a check found, for readers: tables, sentences, remarks."""

import math
from collections.abc import Sequence

from robusteval.gate.check import Check
from robusteval.gate.verdict import Row
from robusteval.metrics import METRICS

NAMES = 4
"""Columns of a table that stand on the left, before those of numbers."""

SHOWN = 20
"""Newly broken samples that a line names at most."""


def headings(found: Check) -> tuple[str, ...]:
    """What stands above the columns of `cells`."""
    interval = f"{100 * (1 - found.rules.level):g}% interval"
    return "verdict", "model", "view", "metric", "n", "baseline", "new", "worse by", interval, "p", "margin"


def name(row: Row) -> str:
    """A row in words."""
    return f"{row.measured.model}, {row.measured.view}, {row.measured.metric}"


def cells(row: Row) -> tuple[str, ...]:
    """A row of a table for readers: verdict, what, n, both values, difference, interval, corrected p, margin."""
    of = row.measured
    low, high = (number(of.metric, end, sign=True) for end in (of.low, of.high))
    return (
        row.verdict,
        of.model,
        of.view,
        of.metric,
        str(of.n),
        number(of.metric, of.baseline),
        number(of.metric, of.value),
        number(of.metric, of.difference, sign=True),
        "" if math.isnan(of.difference) else f"[{low}, {high}]",
        "" if math.isnan(row.adjusted) else f"{row.adjusted:.2g}",
        number(of.metric, of.margin),
    )


def number(metric: str, value: float, sign: bool = False) -> str:
    """A number for readers: rates in %, whatever else as it is; empty where there is none."""
    if math.isnan(value):
        return ""
    rate = metric in METRICS.classes and METRICS.classes[metric].interval == "wilson"
    plus = "+" if sign else ""
    return f"{100 * value:{plus}.2f}%" if rate else f"{value:{plus}.4f}"


def annotation(row: Row) -> str:
    """A row as one sentence and its remarks."""
    of = row.measured
    if math.isnan(of.difference):
        return "; ".join([name(row), *remarks_on(row)])
    baseline, value = number(of.metric, of.baseline), number(of.metric, of.value)
    change = f"{name(row)}: {baseline} -> {value}, worse by {cells(row)[7]} {cells(row)[8]} on {of.n} samples"
    return "; ".join([change, *remarks_on(row)])


def remarks_on(row: Row, shown: int = SHOWN) -> list[str]:
    """What a reader should know of a row: why, how many samples would settle it, and which are newly broken."""
    of, said = row.measured, list[str]()
    if row.reason:
        said.append(row.reason)
    if row.settle_n is not None:
        said.append(f"about {row.settle_n} samples would settle it")
    said += of.notes
    if of.newly_broken:
        listed = ", ".join(map(str, of.newly_broken[:shown]))
        more = len(of.newly_broken) - shown
        said.append(f"newly broken: {listed}" + (f" and {more} more" if more > 0 else ""))
    return said


def remarks(found: Check) -> list[str]:
    """All that is to be said beside the table, a line each."""
    said = (f"{name(row)}: {'; '.join(remarks_on(row))}" for row in found.rows if remarks_on(row))
    return [*found.notes, *said]


def markdown(found: Check) -> str:
    """All rows as a Markdown table whose columns are aligned."""
    lines = [tuple(map(escaped, line)) for line in (headings(found), *map(cells, found.rows))]
    widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
    rule = tuple("-" * width if place < NAMES else "-" * (width - 1) + ":" for place, width in enumerate(widths))
    return "".join(_line(line, widths) for line in (lines[0], rule, *lines[1:]))


def _line(line: Sequence[str], widths: Sequence[int]) -> str:
    padded = (
        text.ljust(width) if place < NAMES else text.rjust(width)
        for place, (text, width) in enumerate(zip(line, widths, strict=True))
    )
    return f"| {' | '.join(padded)} |\n"


def tally(rows: Sequence[Row]) -> str:
    """How many rows came to which verdict, in one line."""
    counts = dict.fromkeys(("regressed", "not comparable", "cannot tell", "improved", "ok"), 0)
    for row in rows:
        counts[row.verdict] += 1
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)


def escaped(text: str) -> str:
    """Text that stands in a cell of a Markdown table as it is."""
    return "".join(f"\\{letter}" if letter in "|*_<>`\\" else letter for letter in " ".join(text.splitlines()))
