"""Temperature scaling: one number that divides all logits (Guo et al. 2017, arXiv:1706.04599)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from robusteval.calibration.recalibrator import Fitted, Floats, Labels, Recalibrator

LOWEST, HIGHEST = 0.01, 100.0
"""Separable logits want a temperature of zero, useless ones an infinite one: the search stops at these."""


def best_temperature(logits: NDArray[np.floating[Any]], labels: NDArray[np.int64]) -> float:
    """The temperature in [0.01, 100] of the least mean negative log-likelihood, found to 1e-6 of its logarithm.

    Args:
        logits: [n, k].
        labels: [n].
    """
    scores = logits.astype(np.float64)
    own = scores[np.arange(len(labels)), labels]

    def loss(exponent: float) -> float:
        inverse = math.exp(-exponent)
        return float(np.mean(logsumexp(scores * inverse, axis=1) - own * inverse))

    found = minimize_scalar(
        loss, bounds=(math.log(LOWEST), math.log(HIGHEST)), method="bounded", options={"xatol": 1e-6}
    )
    return math.exp(float(found.x))


@dataclass(frozen=True)
class Divided(Fitted):
    """Logits over a temperature."""

    temperature: float

    @property
    def parameters(self) -> Mapping[str, float]:
        """The temperature."""
        return {"temperature": self.temperature}

    def mapped(self, scores: Floats) -> Floats:
        """The order of classes, and so the accuracy, stays."""
        return scores / self.temperature


@dataclass(frozen=True)
class Temperature(Recalibrator):
    """One temperature of the least negative log-likelihood."""

    name: ClassVar[str] = "temperature"

    def learnt(self, scores: Floats, labels: Labels) -> Divided:
        """A bounded search over the logarithm of the temperature."""
        return Divided(scores.shape[1], best_temperature(scores, labels))
