"""A table as a page shows it and a spreadsheet reads it: columns, cells, CSV."""

import base64
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import Any, Literal

import pandas as pd

Better = Literal["higher", "lower", ""]


@dataclass(frozen=True)
class Column:
    """The head of a column.

    Attributes:
        name: what it holds, with the unit.
        group: what stands above it and its neighbours of the same group.
        badge: a grade that all of its numbers have.
        better: which numbers are better; decides how the first click sorts.
        numeric: whether it is set to the right and sorted by number.
    """

    name: str
    group: str = ""
    badge: str = ""
    better: Better = ""
    numeric: bool = True

    @property
    def first(self) -> str:
        """How the first click sorts: the best first, text from A to Z."""
        return "descending" if self.better == "higher" else "ascending"


@dataclass(frozen=True)
class Cell:
    """A cell.

    Attributes:
        text: what is read first.
        order: what a number is sorted by; None where there is none, which comes last.
        detail: an interval or a spread, in smaller type.
        badge: the grade of this number alone.
        alarm: why it is not to be believed.
        share: length of its bar in [0, 1].
    """

    text: str
    order: float | None = None
    detail: str = ""
    badge: str = ""
    alarm: str = ""
    share: float | None = None

    @classmethod
    def number(cls, value: float, text: str) -> "Cell":
        """A number as it is sorted and as it is read; nothing where it is not one."""
        return cls("-") if math.isnan(value) else cls(text, value)


@dataclass(frozen=True)
class Table:
    """A table; its first column heads the rows.

    Attributes:
        name: in words, from which the name of its file is made.
        columns: heads.
        rows: cells, as many in each row as there are columns.
        data: what its CSV holds.
        most: rows that are shown; the CSV has all.
    """

    name: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    data: pd.DataFrame = field(repr=False)
    most: int = 300

    @classmethod
    def of(cls, name: str, frame: pd.DataFrame, most: int = 300) -> "Table":
        """Any frame as a table: numbers to the right with five digits, what is missing as `-`."""
        columns = [Column(str(head), numeric=_numeric(frame[head])) for head in frame.columns]
        rows = [
            [_plain(value, column.numeric) for value, column in zip(row, columns, strict=True)]
            for row in frame.head(most).itertuples(index=False)
        ]
        return cls(name, columns, rows, frame, most)

    @property
    def groups(self) -> list[tuple[str, int]]:
        """What stands above the columns after the first, and above how many."""
        return [(name, len(list(part))) for name, part in groupby(column.group for column in self.columns[1:])]

    @property
    def shown(self) -> Sequence[Sequence[Cell]]:
        """The rows that the page holds."""
        return self.rows[: self.most]

    @property
    def left_out(self) -> int:
        """How many rows are in the CSV alone."""
        return len(self.data) - len(self.shown)

    @property
    def size(self) -> int:
        """Bytes of the page, roughly."""
        return len(self.href) + sum(
            90 + len(cell.text + cell.detail + cell.alarm) for row in self.shown for cell in row
        )

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{slug(self.name)}.csv"

    @cached_property
    def href(self) -> str:
        """Its CSV as a link that needs neither network nor script."""
        return csv_link(self.data)


def csv_link(frame: pd.DataFrame) -> str:
    """A frame as CSV in a data URI; six digits of each number."""
    text = frame.to_csv(index=False, float_format="%.6g")
    return f"data:text/csv;charset=utf-8;base64,{base64.b64encode(text.encode()).decode()}"


def slug(text: str) -> str:
    """Words as a name of a file or an element.

    >>> slug("Accuracy, pgd(eps=8/255)")
    'accuracy-pgd-eps-8-255'
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def unique(names: Iterable[str]) -> list[str]:
    """Slugs of names, each once: later ones get a number.

    >>> unique(["fog@3", "fog 3", "@"])
    ['fog-3', 'fog-3-2', 'x']
    """
    found: list[str] = []
    for name in names:
        base, number = slug(name) or "x", 1
        candidate = base
        while candidate in found:
            number += 1
            candidate = f"{base}-{number}"
        found.append(candidate)
    return found


def _numeric(values: "pd.Series[Any]") -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def _plain(value: object, numeric: bool) -> Cell:
    if pd.isna(value):  # type: ignore[call-overload]
        return Cell("-")
    if not numeric:
        return Cell(str(value))
    number = float(str(value))
    return Cell(f"{int(number):d}" if number.is_integer() else f"{number:.5g}", number)
