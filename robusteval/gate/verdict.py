"""The verdict on each row, from paired differences alone: a pure function of numbers.

A row has regressed where its difference is significantly above 0 - Holm's correction (Holm 1979) keeps the chance of
any false alarm over all rows below the level - and its estimate is above the margin. It is in order where the interval
of the difference ends below the margin: then a regression of that size would have been seen. That claim needs no
correction, as all rows must make it for the whole to pass (Berger 1982, intersection-union tests).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from scipy import special

from robusteval.core.paired import holm
from robusteval.gate.rules import Rules

Verdict = Literal["regressed", "improved", "ok", "cannot tell", "not comparable"]


@dataclass(frozen=True)
class Measured:
    """A gated row before its verdict: one metric of one view on the same samples of two models.

    Attributes:
        model: its name in the new report.
        view: spec of the view, with the radius where an attack has several.
        metric: name of the metric.
        n: samples.
        value: of the new model.
        baseline: of the old one.
        difference: between the two; above 0 is worse.
        low: lower end of its interval.
        high: upper end of its interval.
        error: standard error of the difference.
        p: of no difference, two-sided, without correction; nan where nothing can be compared.
        margin: how much worse is no regression yet.
        same: whether no sample differs.
        newly_broken: ids of samples that only the old model gets right.
        grades: of the new and the old number, for attacked views.
        problem: why nothing can be compared; empty where it can.
        notes: what else a reader of the row should know.
    """

    model: str
    view: str
    metric: str
    n: int
    value: float = math.nan
    baseline: float = math.nan
    difference: float = math.nan
    low: float = math.nan
    high: float = math.nan
    error: float = math.nan
    p: float = math.nan
    margin: float = 0.01
    same: bool = False
    newly_broken: tuple[int, ...] = ()
    grades: tuple[str | None, str | None] = (None, None)
    problem: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """A gated row with its verdict.

    Attributes:
        measured: what was compared.
        adjusted: p with Holm's correction over the gated rows.
        verdict: what it comes to.
        settle_n: about how many samples would settle a row that cannot be told, if the difference stays what it is;
            None where it is settled, or no number would.
        reason: one clause, for the reader.
    """

    measured: Measured
    adjusted: float
    verdict: Verdict
    settle_n: int | None = None
    reason: str = ""


def judge(measured: Sequence[Measured], rules: Rules) -> list[Row]:
    """The verdicts on all gated rows, in their order; Holm's correction is over those that can be compared."""
    tests = sum(not row.problem for row in measured)
    corrected = holm([math.nan if row.problem else row.p for row in measured])
    return [_row(row, float(p), rules, tests) for row, p in zip(measured, corrected, strict=True)]


def exit_code(rows: Sequence[Row]) -> int:
    """2 where a row is not comparable, else 1 where one regressed, else 3 where one cannot be told, else 0."""
    codes = {"not comparable": 2, "regressed": 1, "cannot tell": 3}
    found = {codes.get(row.verdict, 0) for row in rows}
    return next((code for code in (2, 1, 3) if code in found), 0)


def settling(row: Measured, level: float, tests: int) -> int | None:
    """About how many samples would settle a row whose difference and spread stay what they are.

    Either the interval then ends below the margin, or the difference is significant in the face of all tests, with the
    allowance of Fleiss, Tytun and Ury 1980 for exact tests of counts.

    Returns:
        A number above n, rounded up to two digits; None where none is enough, as the difference is the margin.
    """
    variance, needed = row.n * row.error**2, list[float]()
    if row.difference < row.margin:
        needed.append(variance * (_quantile(level) / (row.margin - row.difference)) ** 2)
    if abs(row.difference) > row.margin:
        plain = variance * (_quantile(level / tests) / row.difference) ** 2
        needed.append(plain / 4 * (1 + math.sqrt(1 + 4 / (plain * abs(row.difference)))) ** 2 if plain else 0)
    return _rounded_up(max(row.n + 1, math.ceil(min(needed)))) if needed and math.isfinite(min(needed)) else None


def _row(row: Measured, adjusted: float, rules: Rules, tests: int) -> Row:
    if row.problem:
        return Row(row, adjusted, "not comparable", None, row.problem)
    verdict = _verdict(row, adjusted, rules.level)
    doubt = _doubt(row, verdict, rules)
    if doubt:
        return Row(row, adjusted, "cannot tell", rules.minimum_n if row.n < rules.minimum_n else None, doubt)
    if verdict == "cannot tell":
        return Row(row, adjusted, verdict, settling(row, rules.level, tests), _undecided(row, adjusted, rules.level))
    return Row(row, adjusted, verdict)


def _verdict(row: Measured, adjusted: float, level: float) -> Verdict:
    if row.same:
        return "ok"
    if adjusted <= level and abs(row.difference) > row.margin:
        return "regressed" if row.difference > 0 else "improved"
    return "ok" if row.high < row.margin else "cannot tell"


def _doubt(row: Measured, verdict: Verdict, rules: Rules) -> str:
    """Why a verdict is not to be believed: too few samples, or a number that is only an upper bound.

    A regression stays one where the new number alone is doubtful: what is worse than the baseline even as an upper
    bound is worse.
    """
    if row.n < rules.minimum_n:
        return f"{row.n} samples, and the rules want {rules.minimum_n}"
    new, old = (None if grade in (None, *rules.grades) else grade for grade in row.grades)
    if old is not None:
        return f"the baseline has grade {old}, which the rules do not allow"
    if new is not None and verdict != "regressed":
        return f"it has grade {new}, which the rules do not allow"
    return ""


def _undecided(row: Measured, adjusted: float, level: float) -> str:
    if abs(row.difference) > row.margin and adjusted > level:
        return "beyond the margin, but not significant over all rows"
    return "the interval reaches beyond the margin"


def _quantile(level: float) -> float:
    return float(special.ndtri(1 - level / 2))


def _rounded_up(number: int) -> int:
    """Two digits, upwards.

    >>> _rounded_up(12345), _rounded_up(99), _rounded_up(991)
    (13000, 99, 1000)
    """
    unit = int(10 ** max(0, len(str(number)) - 2))
    return -(-number // unit) * unit
