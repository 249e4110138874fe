"""Vector scaling: a weight and a bias for every class's logit (Guo et al. 2017, arXiv:1706.04599, section 4.2)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

from robusteval.calibration.recalibrator import Fitted, Floats, Labels, Recalibrator
from robusteval.core.errors import require


@dataclass(frozen=True, eq=False)
class Scaled(Fitted):
    """Logits times weights plus biases, [k] each."""

    weights: Floats
    biases: Floats

    @property
    def parameters(self) -> Mapping[str, float]:
        """Weight and bias of every class."""
        named = {"weight": self.weights, "bias": self.biases}
        return {f"{name}_{k}": float(value) for name, values in named.items() for k, value in enumerate(values)}

    def mapped(self, scores: Floats) -> Floats:
        """Class by class."""
        return scores * self.weights + self.biases


@dataclass(frozen=True)
class Vector(Recalibrator):
    """Weights and biases of the least negative log-likelihood; accuracy may change.

    Attributes:
        penalty: times the squared distance of the weights from 1 and of the biases from 0, added to the mean negative
            log-likelihood: it keeps finite what a class never seen, or separable classes, would send to infinity.
    """

    name: ClassVar[str] = "vector"

    penalty: float = 1e-6

    def __post_init__(self) -> None:
        require(self.penalty >= 0, "penalty", "must not be negative", self.penalty)

    def learnt(self, scores: Floats, labels: Labels) -> Scaled:
        """A convex problem, by limited-memory BFGS with its gradient, from the identity."""
        n, classes = scores.shape
        identity = np.concatenate([np.ones(classes), np.zeros(classes)])
        target = np.eye(classes)[labels]

        def loss(values: Floats) -> tuple[float, Floats]:
            chances = log_softmax(scores * values[:classes] + values[classes:], axis=1)
            away = values - identity
            value = -chances[np.arange(n), labels].mean() + self.penalty * float(away @ away)
            residual = (np.exp(chances) - target) / n
            slope = np.concatenate([(residual * scores).sum(axis=0), residual.sum(axis=0)])
            return float(value), slope + 2 * self.penalty * away

        options = {"maxiter": 1000, "ftol": 1e-14, "gtol": 1e-8}
        found = minimize(loss, identity, jac=True, method="L-BFGS-B", options=options).x
        return Scaled(classes, found[:classes], found[classes:])
