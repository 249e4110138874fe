"""From two sides of a view to its gated rows: paired differences, above 0 where the new model is worse."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from robusteval.core.paired import Difference, bootstrap_difference, rate_difference
from robusteval.core.statistics import poisson_weights
from robusteval.gate.pairs import Pair
from robusteval.gate.rules import Gate, Rules
from robusteval.gate.sides import THIN, Floats, Rows
from robusteval.gate.verdict import Measured
from robusteval.metrics import METRICS
from robusteval.metrics.functional.scoring import weighted_mean
from robusteval.metrics.functional.weighing import Statistic

DRAWS = 1000


class Weights:
    """Resampling weights by sample id; the last few are kept, as most views have the same samples."""

    def __init__(self, seed: int, draws: int = DRAWS) -> None:
        self.seed, self.draws = seed, draws
        self._kept: dict[bytes, NDArray[np.uint8]] = {}

    def __call__(self, samples: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Weights [draws, n] of these samples."""
        key = samples.tobytes()
        if key not in self._kept:
            if len(self._kept) >= 2:
                self._kept.clear()
            self._kept[key] = poisson_weights(samples, self.draws, self.seed)
        return self._kept[key]


def measure(pairs: Sequence[Pair], rules: Rules, weights: Weights) -> list[Measured]:
    """The gated rows of all pairs, in order.

    Raises:
        RecordError: samples are missing, damaged, or not the same on both sides.
    """
    found = list[Measured]()
    for pair in pairs:
        found += failed(pair, rules) if pair.problem else view(pair, *pair.rows(), rules, weights)
    return found


def failed(pair: Pair, rules: Rules) -> list[Measured]:
    """The rows of a view that one side has not."""
    return [_blank(pair, name, rules, pair.new.n, pair.problem) for name in pair.metrics]


def view(pair: Pair, new: Rows, old: Rows, rules: Rules, weights: Weights) -> list[Measured]:
    """The rows of a view whose samples are the same on both sides."""
    return [_row(pair, name, (new, old), rules, weights) for name in pair.metrics]


def _row(pair: Pair, metric: str, rows: tuple[Rows, Rows], rules: Rules, weights: Weights) -> Measured:
    new, old = rows
    blank = _blank(pair, metric, rules, len(new.samples), _lost(pair, metric, rows))
    if blank.problem:
        return blank
    if metric == "accuracy" and new.correct is not None and old.correct is not None:
        return _rate(blank, new.correct, old.correct, new.samples, rules.level)
    sign = _gate(pair, metric, rules).sign(metric)
    statistics = _statistic(new, metric), _statistic(old, metric)
    if statistics[0] is None or statistics[1] is None:
        return _unpaired(blank, pair, sign, rules.level)
    return _bootstrapped(blank, (statistics[0], statistics[1]), rows, weights(new.samples), sign, rules.level)


def _rate(
    row: Measured, new: NDArray[np.bool_], old: NDArray[np.bool_], ids: NDArray[np.int64], level: float
) -> Measured:
    found, differing = rate_difference(old, new, 1 - level), float((new != old).mean())
    broken = tuple(int(sample) for sample in ids[old & ~new])
    error = math.sqrt(max(0.0, differing - found.value**2) / row.n)
    measured = _with(row, found, error, float(new.mean()), float(old.mean()))
    return replace(measured, same=not differing, newly_broken=broken)


def _bootstrapped(
    row: Measured,
    statistics: tuple[Statistic, Statistic],
    rows: tuple[Rows, Rows],
    weights: NDArray[np.uint8],
    sign: int,
    level: float,
) -> Measured:
    values = [float(statistic(np.ones((1, row.n)))[0]) for statistic in statistics]
    if not all(map(math.isfinite, values)):
        return replace(row, problem=f"{row.metric} is nan on some samples")
    worse, better = statistics if sign > 0 else statistics[::-1]
    biased = row.metric in METRICS.classes and METRICS.classes[row.metric].interval == "basic"
    found = bootstrap_difference(worse, better, weights, 1 - level, "basic" if biased else "percentile")
    same = all(np.array_equal(mine, yours, equal_nan=True) for mine, yours in zip(*map(_content, rows), strict=True))
    return replace(_with(row, found, _error(found.high - found.low, level), *values), same=same)


def _unpaired(row: Measured, pair: Pair, sign: int, level: float) -> Measured:
    """A number whose samples one side has not: from the two 95% intervals, as if they were independent.

    They are of the same samples, so that the difference varies less than it is taken to.
    """
    new, old = (side.estimates.get(row.metric) for side in (pair.new, pair.old))
    if new is None or old is None:
        return replace(row, problem=f"{'the' if new is None else 'the baseline'} view has no {row.metric}")
    error = math.hypot(*(_error(side.high - side.low, 0.05) for side in (new, old)))
    value, half = sign * (new.value - old.value), error * _quantile(level)
    p = 2 * float(special.ndtr(-abs(value) / error)) if error > 0 else float(value == 0)
    found = Difference(value, value - half, value + half, p)
    notes = (*row.notes, "unpaired: a baseline file keeps no samples of it")
    return replace(_with(row, found, error, new.value, old.value), same=new == old, notes=notes)


def _statistic(rows: Rows, metric: str) -> Statistic | None:
    """The metric of these rows as a function of weights; None where they do not hold it."""
    if metric not in METRICS.classes:
        return _mean(rows.columns[metric]) if metric in rows.columns else None
    known = METRICS.parse(metric)
    if rows.predictions is None or (rows.thin and metric not in THIN):
        return None
    if known.needs_logits and rows.predictions.logits is None:
        return None
    return known.statistic(rows.predictions)


def _mean(values: Floats) -> Statistic:
    """The mean of the values that there are: a probe may leave some out."""
    present = np.isfinite(values)
    return lambda weights: weighted_mean(values[present], weights[:, present])


def _lost(pair: Pair, metric: str, rows: tuple[Rows, Rows]) -> str:
    """Which side has a metric that is no number, or samples that are none."""
    for side, entry, known in zip(("", "the baseline's "), (pair.new, pair.old), rows, strict=True):
        found = entry.estimates.get(metric)
        if found is not None and not math.isfinite(found.value):
            return f"{side}{metric} is {found.value}"
        needed = None if metric == "accuracy" or metric not in METRICS.classes else known.predictions
        if needed is not None and not np.isfinite(needed.confidence).all():
            return f"{side}confidence is nan on some samples"
    return ""


def _blank(pair: Pair, metric: str, rules: Rules, n: int, problem: str) -> Measured:
    flags = dict.fromkeys(flag for side in (pair.new, pair.old) for flag in side.flags.split(", ") if flag)
    notes = (f"upper bound, potentially unreliable: {', '.join(flags)}",) if flags else ()
    grades = pair.new.grade, pair.old.grade
    margin = _gate(pair, metric, rules).margin
    return Measured(
        pair.new.model, pair.new.view, metric, n, margin=margin, grades=grades, problem=problem, notes=notes
    )


def _gate(pair: Pair, metric: str, rules: Rules) -> Gate:
    found = rules.gate(pair.new.view, metric)
    if found is None:
        raise LookupError(f"{pair.new.view}, {metric} is not gated")
    return found


def _with(row: Measured, found: Difference, error: float, value: float, baseline: float) -> Measured:
    row = replace(row, value=value, baseline=baseline, error=error)
    return replace(row, difference=found.value, low=found.low, high=found.high, p=found.p)


def _content(rows: Rows) -> list[NDArray[Any]]:
    """What two sides without a differing sample share."""
    known = rows.predictions
    return [*([] if known is None else [known.correct, known.confidence, known.nll]), *rows.columns.values()]


def _error(width: float, level: float) -> float:
    return width / (2 * _quantile(level))


def _quantile(level: float) -> float:
    return float(special.ndtri(1 - level / 2))
