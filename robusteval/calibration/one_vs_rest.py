"""Binary calibration class by class through netcal, and the classes put together again.

Each class is a yes-no forecast with a map of its own, and the mapped probabilities are divided by their sum (Zadrozny
and Elkan 2002, "Transforming classifier scores into accurate multiclass probability estimates").
"""

import warnings
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy.special import log_softmax

from robusteval.calibration.recalibrator import Fitted, Floats, Labels, Recalibrator
from robusteval.core.errors import InputError

FLOOR = 1e-12
"""The least probability that comes out: steps may say exactly 0, whose logarithm is not finite."""


class Binary(Protocol):
    """What is used of a netcal calibrator of one probability."""

    def fit(self, probability: Floats, outcome: Labels) -> Any:
        """Fit to probabilities [n] and outcomes [n], each 0 or 1, of which both are there."""

    def transform(self, probability: Floats) -> Floats:
        """Mapped probabilities [n]."""


@dataclass(frozen=True, eq=False)
class PerClass(Fitted):
    """One map for every class's probability; a class without a map keeps its probability."""

    maps: tuple[Binary | None, ...]

    @property
    def parameters(self) -> Mapping[str, float]:
        """None that would fit a record: steps and curves of every class."""
        return {}

    def mapped(self, scores: Floats) -> Floats:
        """Log-probabilities: mapped class by class, brought to sum 1; where all are 0 the forecast stays."""
        chances = np.exp(log_softmax(scores, axis=1))
        found = np.empty_like(chances)
        for k, binary in enumerate(self.maps):
            found[:, k] = chances[:, k] if binary is None else quietly(binary.transform, chances[:, k])
        total = found.sum(axis=1, keepdims=True)
        found = np.where(total > 0, found / np.where(total > 0, total, 1), chances)
        logarithms: Floats = np.log(np.maximum(found, FLOOR))
        return logarithms


@dataclass(frozen=True)
class OneVsRest(Recalibrator):
    """A recalibrator made of a binary one: `binary` is the author's."""

    @abstractmethod
    def binary(self) -> Binary:
        """A fresh calibrator; netcal is imported here."""

    def check(self) -> None:
        """See that netcal is there.

        Raises:
            InputError: it is not installed.
        """
        try:
            quietly(self.binary)
        except ImportError:
            raise InputError(f"recalibrator='{self}': needs netcal; pip install 'robusteval[netcal]'") from None

    def learnt(self, scores: Floats, labels: Labels) -> PerClass:
        """A map for every class that some samples have and others have not.

        Raises:
            InputError: netcal is not installed.
        """
        self.check()
        chances = np.exp(log_softmax(scores, axis=1))
        return PerClass(scores.shape[1], tuple(self._map(chances[:, k], labels == k) for k in range(scores.shape[1])))

    def _map(self, chances: Floats, outcome: Any) -> Binary | None:
        if outcome.all() or not outcome.any():
            return None
        binary = self.binary()
        quietly(binary.fit, chances, outcome.astype(np.int64))
        return binary


def quietly(function: Any, *arguments: Any) -> Any:
    """Call without the warnings that netcal's own dependencies give about each other."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*arguments)
