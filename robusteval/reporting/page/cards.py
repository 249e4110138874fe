"""The cards on top of a page: the best of each kind of number among all models, and whether to believe them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from robusteval.reporting.page import comparison, heads
from robusteval.reporting.tables import UNRELIABLE

_TITLES = {
    comparison.CLEAN: "Clean accuracy",
    comparison.ATTACK: "Accuracy under attack",
    comparison.CORRUPTION: "Accuracy on corruptions",
    comparison.CALIBRATION: "Calibration error",
    comparison.LINEARITY: "Local linearity error",
}
_RANKS = {"A": 0, "B": 1, "quick": 2, "C": 3}


@dataclass(frozen=True)
class Card:
    """The best number of a column, and where all models stand.

    Attributes:
        title: what was measured.
        about: the view or metric.
        value: with its unit.
        detail: its 95% interval and the number of samples.
        who: whose it is, and among how many.
        badge: its grade.
        alarm: what its flags mean.
        dots: where each model stands between the ends, in percent of the way.
        ends: the least and the most of the strip, with units.
    """

    title: str
    about: str
    value: str
    detail: str
    who: str
    badge: str
    alarm: str
    dots: Sequence[float]
    ends: tuple[str, str]


@dataclass(frozen=True)
class Trust:
    """How much of a report is to be believed.

    Attributes:
        cells: how many views of models were measured.
        grades: how many attacked ones have each grade.
        flagged: how many carry a flag.
        failed: how many failed.
        flags: which flags.
    """

    cells: int
    grades: dict[str, int]
    flagged: int
    failed: int
    flags: Sequence[str]


def cards(found: pd.DataFrame) -> list[Card]:
    """A card for the first column of each group; of attacks for the best graded, then the strongest.

    Args:
        found: as `comparison.numbers` gives it.
    """
    chosen = []
    for group in _TITLES:
        rows = found[found["group"].eq(group) & found["metric"].ne("median-distance")]
        columns = [part for _, part in rows.groupby("column", sort=False) if part["value"].notna().any()]
        if columns:
            chosen.append(_card(_headline(group, columns)))
    return chosen


def trust(metrics: pd.DataFrame) -> Trust:
    """What the record says of its own numbers."""
    cells = metrics.drop_duplicates(["model", "view"])
    flags = cells["flags"].dropna()
    grades = {grade: int(cells["grade"].eq(grade).sum()) for grade in _RANKS}
    return Trust(
        cells=len(cells),
        grades={grade: count for grade, count in grades.items() if count},
        flagged=len(flags),
        failed=int(cells["error"].notna().sum()),
        flags=list(dict.fromkeys(flag for text in flags for flag in str(text).split(", "))),
    )


def _headline(group: str, columns: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Of attacks the strongest, of corruptions the mean where there is one, else what comes first."""
    if group == comparison.ATTACK:
        return min(columns, key=_strength)
    means = [part for part in columns if str(part["column"].iloc[0]).startswith("mean of ")]
    return (means or columns)[0]


def _strength(part: pd.DataFrame) -> tuple[int, float]:
    """The grade that most of a column has, then its mean accuracy."""
    counts = {grade: int(part["grade"].eq(grade).sum()) for grade in _RANKS}
    return _RANKS[max(counts, key=lambda grade: counts[grade])], float(part["value"].mean())


def _card(part: pd.DataFrame) -> Card:
    metric, known = str(part["metric"].iloc[0]), part[part["value"].notna()]
    trusted = known[known["flags"].isna()]
    pool = trusted if len(trusted) else known
    higher = heads.better(metric) == "higher"
    row = pool.sort_values("value", ascending=not higher, kind="stable").iloc[0]
    top = 1.0 if metric == "accuracy" else float(known["value"].max()) or 1.0
    return Card(
        title=_TITLES[str(row["group"])],
        about=_about(str(row["column"]), metric),
        value=_with_unit(metric, float(row["value"])),
        detail=_detail(metric, row),
        who=_who(str(row["model"]), len(known), len(known) - len(trusted), higher),
        badge="" if pd.isna(row["grade"]) else str(row["grade"]),
        alarm="" if pd.isna(row["flags"]) else f"{UNRELIABLE}: {row['flags']}",
        dots=[round(100 * min(max(float(value) / top, 0), 1), 1) for value in known["value"]],
        ends=("0", _with_unit(metric, top)),
    )


def _about(column: str, metric: str) -> str:
    names = {"ece": "ECE, clean view", "gamma": f"gamma, {column}"}
    return names.get(metric, "clean view" if column == comparison.CLEAN else column)


def _with_unit(metric: str, value: float) -> str:
    unit = "%" if metric in ("accuracy", "ece") else " nats"
    text = heads.shape(metric)(value)
    return f"{text.removesuffix('.0') if value in (0, 1) else text}{unit}"


def _detail(metric: str, row: "pd.Series[Any]") -> str:
    if pd.isna(row["low"]) or not math.isfinite(float(row["value"])):
        return ""
    low, high = (heads.shape(metric)(float(row[end])) for end in ("low", "high"))
    return f"95% interval {low} to {high}, n = {int(row['n'])}"


def _who(model: str, models: int, flagged: int, higher: bool) -> str:
    if models == 1:
        return model
    aside = f" ({flagged} flagged aside)" if 0 < flagged < models else ""
    return f"{model}: the {'highest' if higher else 'lowest'} of {models}{aside}"
