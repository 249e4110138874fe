"""The contract of a recalibrator: a map of logits, fitted on other samples than it is judged on (TRUST R26)."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robusteval.core.component import Component, Registry
from robusteval.core.errors import require
from robusteval.metrics.functional.validate import classification, scores_of

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Fitted(ABC):
    """A fitted map: `mapped` is the author's, the call is everyone's.

    Attributes:
        classes: how many it was fitted for.
    """

    classes: int

    @property
    @abstractmethod
    def parameters(self) -> Mapping[str, float]:
        """What was fitted, by name, for the record."""

    @abstractmethod
    def mapped(self, scores: Floats) -> Floats:
        """New logits or log-probabilities [n, k] of finite logits."""

    def __call__(self, logits: NDArray[np.float32]) -> Floats:
        """New logits or log-probabilities [n, k] in float64, finite: their softmax is the recalibrated forecast.

        Raises:
            InputError: the logits are not finite, or of another number of classes.
        """
        scores = scores_of(logits)
        require(scores.shape[1] == self.classes, "logits", f"must have the {self.classes} classes fitted", scores.shape)
        return self.mapped(scores.astype(np.float64))


@dataclass(frozen=True)
class Recalibrator(Component):
    """A way to mend calibration: `learnt` is the author's, `fit` is everyone's."""

    @abstractmethod
    def learnt(self, scores: Floats, labels: Labels) -> Fitted:
        """Fit to finite logits [n, k] and labels [n]; a class may be missing from the labels."""

    def check(self) -> None:
        """See that it can be used here.

        Raises:
            InputError: a library is not installed.
        """

    def fit(self, logits: NDArray[np.float32], labels: Labels) -> Fitted:
        """Fit to logits [n, k] and labels [n].

        Raises:
            InputError: they do not fit each other, there is none, or a logit is not finite.
        """
        scores, classes = classification(logits, labels)
        return self.learnt(scores.astype(np.float64), classes)


RECALIBRATORS: Registry[Recalibrator] = Registry("recalibrator", Recalibrator, "robusteval.calibration")
