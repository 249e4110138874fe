"""Temperature scaling: one number that divides all logits (Guo et al. 2017, arXiv:1706.04599)."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from robusteval.calibration.recalibrator import Fitted, Floats, Labels, Recalibrator

LOWEST, HIGHEST = 0.01, 100.0
"""Separable logits want a temperature of zero, useless ones an infinite one: the search stops at these."""


def best_temperature(logits: NDArray[np.floating[Any]], labels: NDArray[np.int64]) -> float:
    """The temperature in [0.01, 100] of the least mean negative log-likelihood, found to 1e-6 of its logarithm.

    Logits that are equal within each sample have the same likelihood at every temperature: 1 is given.

    Args:
        logits: [n, k].
        labels: [n].
    """
    scores = logits.astype(np.float64)
    scores -= scores.max(axis=1, keepdims=True)
    if not scores.any():
        return 1.0
    own = scores[np.arange(len(labels)), labels]

    def loss(exponent: float) -> float:
        inverse = math.exp(-exponent)
        return float(np.mean(np.log(np.exp(scores * inverse).sum(axis=1)) - own * inverse))

    found = minimize_scalar(
        loss, bounds=(math.log(LOWEST), math.log(HIGHEST)), method="bounded", options={"xatol": 1e-6}
    )
    return LOWEST if loss(math.log(LOWEST)) <= found.fun else math.exp(float(found.x))


def resampled_temperature(logits: NDArray[np.floating[Any]], labels: NDArray[np.int64]) -> Callable[[Floats], Floats]:
    """The best temperature as a function of resampling weights [m, n], within half a percent.

    The loss is known at 93 temperatures, a tenth apart in their logarithm, and a parabola goes through the lowest and
    its neighbours.

    Args:
        logits: [n, k].
        labels: [n].
    """
    scores = logits.astype(np.float64)
    scores -= scores.max(axis=1, keepdims=True)
    if not scores.any():
        return lambda weights: np.where(weights.sum(axis=1) > 0, 1.0, np.nan)
    own = scores[np.arange(len(labels)), labels]
    grid = np.linspace(math.log(LOWEST), math.log(HIGHEST), 93)
    losses = np.stack([np.log(np.exp(scores * b).sum(axis=1)) - own * b for b in np.exp(-grid)], axis=1)

    def statistic(weights: Floats) -> Floats:
        total = weights @ losses
        lowest = total.argmin(axis=1)
        inner, rows = lowest.clip(1, len(grid) - 2), np.arange(len(total))
        left, here, right = (total[rows, inner + step] for step in (-1, 0, 1))
        bend = left - 2 * here + right
        shift = np.divide(left - right, 2 * bend, out=np.zeros_like(bend), where=bend > 0).clip(-0.5, 0.5)
        place = grid[inner] + np.where(lowest == inner, shift, lowest - inner) * (grid[1] - grid[0])
        found: Floats = np.where(weights.sum(axis=1) > 0, np.exp(place), np.nan)
        return found

    return statistic


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
