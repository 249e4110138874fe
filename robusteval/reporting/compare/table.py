"""A comparison: numbers of the record by row and column, which are best, and how far they are from a baseline."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special

from robusteval.core.errors import InputError, RecordError, nearest
from robusteval.core.statistics import percentile_interval
from robusteval.reporting.compare.columns import AFTER, Catalogue, Column
from robusteval.reporting.compare.differences import Place, Tested, corrected, tested
from robusteval.reporting.compare.evidence import Evidence
from robusteval.reporting.compare.pool import By, Pool, Row


@dataclass(frozen=True)
class Figure:
    """One number of the table.

    Attributes:
        values: one per model of the row; the number is their mean.
        low: end of the 95% interval: over samples of one checkpoint, over seeds of several.
        high: its other end.
        n: samples.
        grade: of an attack, the worst of the models'.
        flags: signs that it is not to be believed.
        failed: why there is no number, where it failed.
    """

    values: tuple[float, ...] = ()
    low: float = math.nan
    high: float = math.nan
    n: int | None = None
    grade: str | None = None
    flags: str | None = None
    failed: str | None = None

    @property
    def value(self) -> float:
        """The mean over models; nan where it was not measured or failed."""
        return float(np.mean(self.values)) if self.values else math.nan

    @property
    def spread(self) -> float:
        """The standard deviation over training seeds; nan where there is one."""
        return _spread(self.values)


@dataclass(frozen=True)
class Comparison:
    """What the table says, before it takes a form.

    Attributes:
        pool: the records.
        columns: in order.
        rows: in order, the baseline first.
        figures: the numbers.
        best: the best row of a column, by its label.
        behind: differences to the best of a column.
        baseline: the row that others are held against.
        differences: to the baseline.
        missing: what the preset asked for and the records have not.
        by: what a row is.
    """

    pool: Pool
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    figures: Mapping[Place, Figure]
    best: Mapping[str, str]
    behind: Mapping[Place, Tested]
    baseline: str | None
    differences: Mapping[Place, Tested]
    missing: tuple[str, ...] = ()
    by: By = "variant"

    def leads(self, place: Place) -> bool:
        """Whether a number is the best of its column, or its equal."""
        found, best = self.behind.get(place), self.best.get(place[1])
        equal = best is not None and self.figures[place].value == self.figures[best, place[1]].value
        return best == place[0] or (found is not None and equal)

    def tied(self, place: Place) -> bool:
        """Whether a number is behind the best of its column, and not significantly."""
        found = self.behind.get(place)
        return found is not None and not found.significant and not self.leads(place)


def compare(
    pool: Pool,
    columns: Sequence[str] = (),
    preset: str = "paper",
    by: By | None = None,
    baseline: str | None = None,
) -> Comparison:
    """Compare the rows of records.

    Args:
        pool: the records.
        columns: by name; those of the preset where none is named.
        preset: `paper`, `accuracy` or `calibration`.
        by: rows; by default variants where one has several training seeds, else checkpoints.
        baseline: the name of a row.

    Raises:
        RecordError: the records may not be compared, or a number that is needed is NaN.
        InputError: a column, the preset or the baseline is unknown.
    """
    catalogue = Catalogue(pool.metrics)
    chosen, missing = (catalogue.chosen(columns), []) if columns else catalogue.preset(preset)
    pool.require_comparable({view for column in chosen for view in column.views})
    if any(column.metric.endswith(AFTER) for column in chosen):
        pool.require_one_scaling()
    rows = _ordered(pool.rows(by), baseline)
    evidence = Evidence(pool)
    index = _index(pool.metrics)
    figures = {(row.name, column.label): _figure(row, column, index, evidence) for row in rows for column in chosen}
    best, behind = _best(rows, chosen, figures, evidence)
    pairs = [(row, rows[0], column) for row in rows[1:] for column in chosen] if baseline is not None else []
    differences = _tested(pairs, figures, evidence)
    unit: By = "variant" if any(len(row.models) > 1 for row in rows) else "checkpoint"
    return Comparison(
        pool, tuple(chosen), tuple(rows), figures, best, behind, baseline, differences, tuple(missing), by or unit
    )


def _ordered(rows: Sequence[Row], baseline: str | None) -> list[Row]:
    names = [row.name for row in rows]
    if baseline is None:
        return list(rows)
    if baseline not in names:
        raise InputError(f"baseline={baseline!r}: no row of the table; {nearest(baseline, names)}")
    return sorted(rows, key=lambda row: row.name != baseline)


Index = Mapping[tuple[str, str], pd.DataFrame]


def _index(metrics: pd.DataFrame) -> Index:
    """The numbers of each cell."""
    return {(str(model), str(view)): part for (model, view), part in metrics.groupby(["model", "view"], sort=False)}


def _figure(row: Row, column: Column, index: Index, evidence: Evidence) -> Figure:
    """The number of a row: what the record says of each of its models, and their mean."""
    cells = [[_entry(model, view, column, index) for view in column.views] for model in row.models]
    every = [entry for entries in cells for entry in entries]
    failed = next((entry["error"] for entry in every if entry is not None and entry["error"] is not None), None)
    if failed is not None:
        return Figure(failed=str(failed))
    known = [entry for entry in every if entry is not None]
    if len(known) < len(every):
        return Figure()
    values = tuple(float(np.mean([entry["value"] for entry in entries if entry is not None])) for entries in cells)
    low, high = _interval(row, column, values, known[0], evidence)
    flags = dict.fromkeys(flag for entry in known if entry["flags"] for flag in str(entry["flags"]).split(", "))
    grades = [str(entry["grade"]) for entry in known if entry["grade"] is not None]
    n, grade = min(int(str(entry["n"])) for entry in known), max(grades, key=_worse) if grades else None
    return Figure(values, low, high, n, grade, ", ".join(flags) or None)


_GRADES = ("A", "B", "quick", "C")


def _worse(grade: str) -> int:
    return _GRADES.index(grade) if grade in _GRADES else len(_GRADES)


def _entry(model: str, view: str, column: Column, index: Index) -> dict[str, object] | None:
    """The row of the record, with None for what is missing in it; None where the view was not measured."""
    rows = index.get((model, view))
    if rows is None:
        return None
    failed = rows[rows["error"].notna()]
    found = failed if len(failed) else rows[rows["metric"].eq(column.metric)]
    if column.radius is not None and not len(failed):
        found = found[found["eps_text"].eq(column.radius)]
    if not len(found):
        return None
    # A curve has its accuracy at the largest radius last.
    entry = {str(key): None if pd.isna(value) else value for key, value in found.iloc[-1].items()}
    if entry["error"] is None and entry["value"] is None:
        where = f"{column.metric} of {model}, view {view}"
        raise RecordError(f"the record has NaN for {where}: delete its samples and run its command again")
    return entry


def _interval(
    row: Row, column: Column, values: Sequence[float], entry: Mapping[str, object], evidence: Evidence
) -> tuple[float, float]:
    """Over seeds that of Student's t; of one checkpoint the record's, or the bootstrap's for a mean over views."""
    if len(values) > 1:
        error = _spread(values) / math.sqrt(len(values))
        half = error * float(special.stdtrit(len(values) - 1, 0.975))
        return float(np.mean(values)) - half, float(np.mean(values)) + half
    if len(column.views) == 1:
        return float(str(entry["low"])), float(str(entry["high"]))
    drawn = evidence.drawn(row.models[0], column)
    if drawn is None:
        return math.nan, math.nan
    return percentile_interval(values[0], drawn.draws[np.isfinite(drawn.draws)])[1:]


def _spread(values: Sequence[float]) -> float:
    """The standard deviation; nan of a single value, or where one is infinite."""
    return float(np.std(values, ddof=1)) if len(values) > 1 and all(map(math.isfinite, values)) else math.nan


def _best(
    rows: Sequence[Row], columns: Sequence[Column], figures: Mapping[Place, Figure], evidence: Evidence
) -> tuple[dict[str, str], dict[Place, Tested]]:
    """The best row of each column, and how far the others are behind.

    A number with a flag is an upper bound and takes no part (TRUST R16).
    """
    best, pairs = dict[str, str](), []
    for column in columns:
        able = [row for row in rows if _fit(figures[row.name, column.label])]
        if column.higher_is_better is None or len(able) < 2:
            continue
        sign = 1 if column.higher_is_better else -1
        first = max(able, key=lambda row: sign * figures[row.name, column.label].value)
        best[column.label] = first.name
        pairs += [(row, first, column) for row in able if row is not first]
    return best, _tested(pairs, figures, evidence)


def _fit(figure: Figure) -> bool:
    return bool(figure.values) and figure.flags is None and math.isfinite(figure.value)


def _tested(
    pairs: Sequence[tuple[Row, Row, Column]], figures: Mapping[Place, Figure], evidence: Evidence
) -> dict[Place, Tested]:
    """Each pair's test where both have a number, corrected over all pairs."""
    values = {place: figure.values for place, figure in figures.items()}
    found: dict[Place, Tested] = {}
    for row, other, column in pairs:
        places = (row.name, column.label), (other.name, column.label)
        if all(values[place] and math.isfinite(figures[place].value) for place in places):
            result = tested(row, other, column, values, evidence)
            if result is not None:
                found[places[0]] = result
    return corrected(found)
