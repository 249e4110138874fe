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
    return math.exp(float(found.x))


def resampled_temperature(
    logits: NDArray[np.floating[Any]], labels: NDArray[np.int64], temperature: float
) -> Callable[[Floats], Floats]:
    """The best temperature as a function of resampling weights [m, n], to one Newton step from the optimum of all.

    The loss is convex in the inverse temperature, and a step from the sample's own optimum already has the bootstrap's
    accuracy (Davidson and MacKinnon 1999, "Bootstrap testing in nonlinear models"; Andrews 2002, "Higher-order
    improvements of a computationally attractive k-step bootstrap").

    Args:
        logits: [n, k].
        labels: [n].
        temperature: the best of all samples.
    """
    scores, inverse = logits.astype(np.float64), 1 / temperature
    scores -= scores.max(axis=1, keepdims=True)
    chances = np.exp(scores * inverse)
    chances /= chances.sum(axis=1, keepdims=True)
    expected = (chances * scores).sum(axis=1)
    slope = expected - scores[np.arange(len(labels)), labels]
    curvature = (chances * (scores - expected[:, None]) ** 2).sum(axis=1)
    both = np.stack([slope, curvature], axis=1)

    def statistic(weights: Floats) -> Floats:
        slopes, curvatures = (weights @ both).T
        with np.errstate(divide="ignore", invalid="ignore"):
            moved = inverse - slopes / curvatures
        found: Floats = 1 / np.clip(moved, 1 / HIGHEST, 1 / LOWEST)
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
