"""Values that cross rooms: a batch of images, what a model said about it, an estimate with its interval."""

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


class Estimate(NamedTuple):
    """A value and its 95% interval; low <= value <= high."""

    value: float
    low: float
    high: float


class Batch(NamedTuple):
    """Images `x` [n, c, h, w] float32 in [0, 1], labels `y` [n] int64, sample ids `ids` [n] int64."""

    x: Tensor
    y: Tensor
    ids: Tensor


@dataclass(frozen=True)
class Predictions:
    """What a model said about n samples, ready for any metric; everything is float64 but the logits.

    Attributes:
        samples: sample ids [n].
        labels: true classes [n].
        predicted: predicted classes [n].
        confidence: probability of the predicted class [n].
        nll: negative log-likelihood of the label in nats [n].
        brier: squared distance of the probabilities to the one-hot label, in [0, 2] [n].
        margin: logit of the label minus the largest other logit [n].
        logits: [n, k] float32, or None where they were not kept.
    """

    samples: NDArray[np.int64]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    confidence: NDArray[np.float64]
    nll: NDArray[np.float64]
    brier: NDArray[np.float64]
    margin: NDArray[np.float64]
    logits: NDArray[np.float32] | None = None

    @classmethod
    def from_logits(
        cls, logits: NDArray[np.float32], labels: NDArray[np.int64], samples: NDArray[np.int64] | None = None
    ) -> Self:
        """Derive everything from logits [n, k] in float64."""
        rows = np.arange(len(labels))
        scores = logits.astype(np.float64)
        log_probabilities = scores - scores.max(axis=1, keepdims=True)
        log_probabilities -= np.log(np.exp(log_probabilities).sum(axis=1, keepdims=True))
        probabilities = np.exp(log_probabilities)
        predicted = scores.argmax(axis=1)
        others = scores.copy()
        others[rows, labels] = -np.inf
        return cls(
            samples=rows if samples is None else samples,
            labels=labels,
            predicted=predicted,
            confidence=probabilities[rows, predicted],
            nll=-log_probabilities[rows, labels],
            brier=(probabilities**2).sum(axis=1) - 2 * probabilities[rows, labels] + 1,
            margin=scores[rows, labels] - others.max(axis=1),
            logits=logits,
        )

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether the predicted class is the label [n]."""
        return np.equal(self.predicted, self.labels)

    def __len__(self) -> int:
        return len(self.labels)
