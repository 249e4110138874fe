"""From stored samples to the numbers of the record: pure arithmetic, no forward pass."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from robusteval.attacks import ATTACKS
from robusteval.attacks.flags import raised
from robusteval.core.statistics import median_interval, percentile_interval, poisson_weights, resample, wilson
from robusteval.core.types import Estimate
from robusteval.engine.crosscheck import Verdicts, crossed, marked
from robusteval.engine.executor import Executor
from robusteval.engine.plan import Cell
from robusteval.engine.recalibration import DEFAULT, Recalibration, chosen, optimum
from robusteval.metrics import METRICS, estimate
from robusteval.metrics.functional.scoring import weighted_mean
from robusteval.metrics.metric import measurable
from robusteval.probes.attacked import Attacked
from robusteval.probes.calibration import Calibration
from robusteval.probes.clean import Clean
from robusteval.results.schema import METRIC_COLUMNS, is_classified, metric_frame, own_columns, predictions_of
from robusteval.results.store import ID_LENGTH, Facts, Store

DRAWS = 1000
RECALIBRATED = ("ece", "nll")
"""What is reported after each recalibrator too."""
MANY = 300_000
"""Rows of samples from which on it pays to start processes that summarise them."""


class Summary:
    """Computes metric rows; equal samples share their resampling weights."""

    def __init__(self, seed: int, recalibration: Recalibration | None = None) -> None:
        """Begin; recalibrators are by default those of a run that names none."""
        self.seed = seed
        self.recalibration = recalibration or Recalibration(chosen(DEFAULT), seed)

    def rows(self, cell: Cell, frame: pd.DataFrame, facts: Facts) -> list[dict[str, Any]]:
        """All metrics of a finished cell."""
        flags = raised(facts.signs)
        common = {
            **marked(describe(cell), flags),
            "forwards": facts.forwards,
            "backwards": facts.backwards,
        }
        estimates = {**self._estimates(cell, frame), **self._statistics(cell, frame)}
        if not estimates:
            return [{**common, "error": "no sample has a finite value"}]
        rows = [{**common, "metric": name, **found._asdict(), "n": n} for name, (found, n) in estimates.items()]
        return rows if "distance" not in frame else [*self._curve(cell, frame, common), *rows]

    def _curve(self, cell: Cell, frame: pd.DataFrame, common: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Accuracy at the smaller radii, and the median of the distances at which samples break."""
        distance, n = frame["distance"].to_numpy(np.float64), len(frame)
        rows = [
            {**common, **_radius(eps), "metric": "accuracy", **wilson(int((distance > eps).sum()), n)._asdict(), "n": n}
            for eps in cell.probe.facets.radii[:-1]
        ]
        return [*rows, {**common, "metric": "median-distance", **median_interval(distance)._asdict(), "n": n}]

    def _estimates(self, cell: Cell, frame: pd.DataFrame) -> dict[str, tuple[Estimate, int]]:
        found: dict[str, tuple[Estimate, int]] = {}
        if is_classified(frame):
            predictions = predictions_of(frame)
            weights = self._resampling(predictions.samples)
            for name, metric in measurable(predictions).items():
                found[name] = estimate(metric, predictions, weights=weights), len(frame)
            if predictions.logits is not None:
                found["temperature"] = optimum(predictions, weights), len(frame)
            for recalibrator, after in self.recalibration.after(cell, predictions).items():
                for name in RECALIBRATED:
                    value = estimate(METRICS.parse(name), after, weights=weights)
                    found[f"{name} after {recalibrator}"] = value, len(frame)
        for name in own_columns(frame):
            present = frame[frame[name].notna()]
            if len(present):
                found[name] = self._own(name, present), len(present)
        return found

    def _own(self, name: str, present: pd.DataFrame) -> Estimate:
        """The mean of a probe's own column; one whose name begins with accuracy is 0 or 1, a rate (TRUST R28)."""
        values = present[name].to_numpy(np.float64)
        if name.startswith("accuracy"):
            return wilson(round(values.sum()), len(values))
        return self._mean(values, present["sample"].to_numpy())

    def _statistics(self, cell: Cell, frame: pd.DataFrame) -> dict[str, tuple[Estimate, int]]:
        weights, ones = self._resampling(frame["sample"].to_numpy()), np.ones((1, len(frame)))
        return {
            name: (percentile_interval(float(statistic(ones)[0]), resample(statistic, weights)), len(frame))
            for name, statistic in cell.probe.statistics(frame).items()
        }

    def _mean(self, values: NDArray[np.float64], samples: NDArray[np.int64]) -> Estimate:
        weights = self._resampling(samples)
        return percentile_interval(float(values.mean()), resample(lambda rows: weighted_mean(values, rows), weights))

    def _resampling(self, samples: NDArray[np.int64]) -> NDArray[np.uint8]:
        return _weights(samples.astype(np.int64).tobytes(), self.seed)


@lru_cache(maxsize=4)
def _weights(samples: bytes, seed: int) -> NDArray[np.uint8]:
    """Resampling weights; equal samples share them."""
    return poisson_weights(np.frombuffer(samples, dtype=np.int64), DRAWS, seed)


def describe(cell: Cell) -> dict[str, Any]:
    """The columns of the record that name a cell."""
    facets = cell.probe.facets
    return {
        "model": cell.source.label,
        "variant": cell.variant,
        "train_seed": cell.train_seed,
        "data": cell.source.data.spec,
        "cell": cell.key[:ID_LENGTH],
        "view": cell.probe.spec,
        **{name: value for name, value in facets._asdict().items() if name in METRIC_COLUMNS},
        **_radius(facets.eps),
        "origin": cell.origin,
        "n": cell.n,
    }


def _radius(eps: float | None) -> dict[str, Any]:
    """A radius as a number and as it was written (TRUST R2)."""
    return {"eps": None if eps is None else float(eps), "eps_text": None if eps is None else repr(eps)}


def _verdicts(cell: Cell, frame: pd.DataFrame) -> Verdicts:
    robust, classes = frame["correct"].to_numpy(bool), int(frame["label"].nunique())
    attack = ATTACKS.parse(cell.probe.spec)
    return Verdicts(cell.key[:ID_LENGTH], cell.source.label, attack, cell.subset, robust, None, classes)


class Found(NamedTuple):
    """What the samples of a finished cell come to.

    Attributes:
        rows: of the record.
        facts: that were stored with the samples.
        correct: which samples were right, of a clean view.
        verdicts: of an attack.
        recalibration: what the record keeps of it.
    """

    rows: list[dict[str, Any]]
    facts: Facts
    correct: NDArray[np.bool_] | None
    verdicts: Verdicts | None
    recalibration: Recalibration


def summarised(cell: Cell, store: Store, seed: int, recalibration: Recalibration) -> Found:
    """Read and summarise a finished cell, by itself."""
    frame, facts = store.read(cell.key)
    own = recalibration.emptied()
    rows = Summary(seed, own).rows(cell, frame, facts)
    correct = frame["correct"].to_numpy(bool) if isinstance(cell.probe, Clean) else None
    return Found(rows, facts, correct, _verdicts(cell, frame) if isinstance(cell.probe, Attacked) else None, own)


def write(
    store: Store,
    planned: Sequence[Cell],
    errors: Mapping[str, str],
    seed: int,
    recalibration: Recalibration,
    executor: Executor,
) -> pd.DataFrame:
    """Write the tables, model by model in the order of the suite; a failed cell is a row with its error."""
    for cell in planned:
        if isinstance(cell.probe, Calibration) and store.has(cell.key):
            recalibration.fit(cell, predictions_of(store.read(cell.key)[0]))
    order = {label: place for place, label in enumerate(dict.fromkeys(cell.source.label for cell in planned))}
    planned = sorted(planned, key=lambda cell: order[cell.source.label])
    done = [cell for cell in planned if store.has(cell.key)]
    each = executor.each if sum(cell.n for cell in done) >= MANY else map
    results = each(partial(summarised, store=store, seed=seed, recalibration=recalibration), done)
    whole = {(cell.source.label, cell.key): one for cell, one in zip(done, results, strict=True)}
    for one in whole.values():
        recalibration.add(one.recalibration)
    metrics = metric_frame(_rows(planned, whole, errors))
    store.write_table("metrics", metrics, csv=True)
    store.write_table("cells", pd.DataFrame([_listed(cell, whole, recalibration) for cell in planned]))
    for name, table in recalibration.tables().items():
        store.write_table(name, table)
    return metrics


Whole = Mapping[tuple[str, str], Found]


def _rows(planned: Sequence[Cell], whole: Whole, errors: Mapping[str, str]) -> list[dict[str, Any]]:
    """The rows of `metrics`, with the flags that attacks on one model raise against each other."""
    clean, verdicts, rows = dict[tuple[str, str], NDArray[np.bool_]](), list[Verdicts](), list[dict[str, Any]]()
    for cell in planned:
        one = whole.get((cell.source.label, cell.key))
        if one is None:
            rows.append({**describe(cell), "error": errors.get(cell.key, "not finished")})
            continue
        rows += one.rows
        if one.correct is not None:
            clean[cell.source.label, cell.subset] = one.correct
        if one.verdicts is not None:
            verdicts.append(one.verdicts)
    verdicts = [replace(verdict, correct=clean.get((verdict.model, verdict.subset))) for verdict in verdicts]
    flags = crossed(verdicts)
    return [marked(row, flags.get(row["cell"], ())) for row in rows]


def _listed(cell: Cell, whole: Whole, recalibration: Recalibration) -> dict[str, Any]:
    """A row of `cells`."""
    one = whole.get((cell.source.label, cell.key))
    facts = Facts() if one is None else one.facts
    return {
        "cell": cell.key[:ID_LENGTH],
        "model": cell.source.label,
        "view": cell.probe.spec,
        "n": cell.n,
        "digest": cell.key,
        "data": cell.subset,
        "weights": cell.weights,
        "notes": "; ".join([*facts.notes, *_noted(recalibration, cell)]),
        "by": ", ".join(facts.by),
        "versions": ", ".join(f"{each.name} {each.version}" for each in cell.probe.components),
    }


def _noted(recalibration: Recalibration, cell: Cell) -> list[str]:
    return [recalibration.notes[cell.key]] if cell.key in recalibration.notes else []
