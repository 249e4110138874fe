"""Recalibration of finished cells: by halves of their samples, or by maps fitted on another split (TRUST R26)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from robusteval.calibration import RECALIBRATORS, Fitted, Recalibrator, halves_of, recalibrated
from robusteval.calibration.temperature import best_temperature, resampled_temperature
from robusteval.core.errors import InputError, require
from robusteval.core.statistics import percentile_interval, resample
from robusteval.core.types import Estimate, Predictions
from robusteval.engine.plan import Cell
from robusteval.probes.calibration import Calibration
from robusteval.results.schema import HALF_COLUMNS, RECALIBRATION_COLUMNS
from robusteval.results.store import ID_LENGTH

DEFAULT = ("temperature",)
"""The recalibrators of a run that names none."""


def chosen(specs: Sequence[str]) -> tuple[Recalibrator, ...]:
    """Recalibrators by their specs, each of which can be used here.

    Raises:
        SpecError: no recalibrator has that name, or a parameter does not fit.
        InputError: none is named, one is named twice, or a library that it needs is not installed.
    """
    found = tuple(RECALIBRATORS.parse(spec) for spec in specs)
    require(len(found) > 0, "recalibrate", "must name at least one, as in temperature,vector", "")
    twice = [each.spec for each in found if found.count(each) > 1]
    require(not twice, "recalibrate", "must name each once", ",".join(twice))
    for each in found:
        each.check()
    return found


class Recalibration:
    """What a run's recalibrators make of its cells, and what the record keeps of them.

    Where a model has a finished view of kind `calibration` (and `fit` has been told), one map of each recalibrator is
    fitted on all of its samples and scales the model's other views. Else the samples of each view are cross-fitted in
    two halves.
    """

    def __init__(self, recalibrators: Sequence[Recalibrator], seed: int, apart: bool = False) -> None:
        """Begin.

        Args:
            recalibrators: what to fit.
            seed: of the halves.
            apart: whether maps are fitted on views of their own.
        """
        self.recalibrators, self.seed, self.apart = tuple(recalibrators), seed, apart
        self.notes: dict[str, str] = {}
        self._maps: dict[str, dict[str, Fitted]] = {}
        self._rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self._samples: dict[bytes, NDArray[np.int64]] = {}

    def fit(self, cell: Cell, predictions: Predictions) -> None:
        """Fit to the samples of a finished view of kind `calibration`."""
        if predictions.logits is None:
            return
        maps = {each.spec: each.fit(predictions.logits, predictions.labels) for each in self.recalibrators}
        self._maps[cell.source.label] = maps
        for name, fitted in maps.items():
            self._keep(cell, name, [(None, len(predictions), fitted.parameters)])

    def emptied(self) -> "Recalibration":
        """The same maps, and nothing yet of what the record keeps of cells."""
        own = Recalibration(self.recalibrators, self.seed, self.apart)
        own._maps = self._maps
        return own

    def add(self, other: "Recalibration") -> None:
        """Keep what another kept of its cells."""
        self.notes.update(other.notes)
        self._rows.update(other._rows)
        self._samples.update(other._samples)

    def after(self, cell: Cell, predictions: Predictions) -> dict[str, Predictions]:
        """The predictions of a view after each recalibrator, by its spec; none where `notes` says why not."""
        if isinstance(cell.probe, Calibration):
            return {}
        if predictions.logits is None:
            return self._not(cell, "logits of more than 100 classes are kept only with --keep-logits")
        if self.apart:
            return self._by_maps(cell, predictions, predictions.logits)
        return self._by_halves(cell, predictions)

    def tables(self) -> dict[str, pd.DataFrame]:
        """`recalibration`, the parameters of all maps, and `halves`, the half of every sample that was cross-fitted."""
        rows = [row for part in self._rows.values() for row in part]
        none = np.empty(0, dtype=np.int64)
        ids = np.unique(np.concatenate([none, *self._samples.values()]))
        halves = {"sample": ids, "half": halves_of(ids, self.seed)}
        return {
            "recalibration": pd.DataFrame(rows, columns=list(RECALIBRATION_COLUMNS)).astype(RECALIBRATION_COLUMNS),
            "halves": pd.DataFrame(halves, columns=list(HALF_COLUMNS)).astype(HALF_COLUMNS),
        }

    def _by_maps(self, cell: Cell, predictions: Predictions, logits: NDArray[np.float32]) -> dict[str, Predictions]:
        maps = self._maps.get(cell.source.label)
        if maps is None:
            return self._not(cell, "its view to calibrate on has no samples")
        labels, samples = predictions.labels, predictions.samples
        return {name: _predictions(fitted(logits), labels, samples) for name, fitted in maps.items()}

    def _by_halves(self, cell: Cell, predictions: Predictions) -> dict[str, Predictions]:
        second = int(halves_of(predictions.samples, self.seed).sum())
        sizes = (len(predictions) - second, second)
        if min(sizes) == 0:
            return self._not(cell, f"a half of its {len(predictions)} samples has none")
        self._samples[predictions.samples.tobytes()] = predictions.samples
        found = {}
        for each in self.recalibrators:
            found[each.spec], fits = recalibrated(each, predictions, self.seed)
            fitted_on = [(half, sizes[1 - half], fits.parameters[half]) for half in (0, 1)]
            self._keep(cell, each.spec, fitted_on)
        return found

    def _not(self, cell: Cell, reason: str) -> dict[str, Predictions]:
        self.notes[cell.key] = f"not recalibrated: {reason}"
        return {}

    def _keep(self, cell: Cell, name: str, fits: Sequence[tuple[int | None, int, Mapping[str, float]]]) -> None:
        """Rows of the table; models of equal weights under two names have the same."""
        self._rows[cell.key, name] = []
        for half, n, parameters in fits:
            common = {"cell": cell.key[:ID_LENGTH], "recalibrator": name, "half": half, "n": n}
            named = [{"parameter": parameter, "value": value} for parameter, value in parameters.items()]
            self._rows[cell.key, name] += [{**common, **number} for number in named or [{}]]


def _predictions(logits: Any, labels: NDArray[np.int64], samples: NDArray[np.int64]) -> Predictions:
    return Predictions.from_logits(logits, labels, samples)


def optimum(predictions: Predictions, weights: NDArray[np.uint8]) -> Estimate:
    """The best temperature of all samples, and its interval: what they want, which nothing here is scaled by.

    Args:
        predictions: with logits.
        weights: of resampling [draws, n].

    Raises:
        InputError: the logits were not kept.
    """
    if predictions.logits is None:
        raise InputError("logits: a temperature needs them")
    value = best_temperature(predictions.logits, predictions.labels)
    resampled = resample(resampled_temperature(predictions.logits, predictions.labels), weights)
    return percentile_interval(value, resampled) if len(resampled) else Estimate(value, value, value)
