"""Telling a second data set from the model's own by a score of the logits: AUROC, AUPR, FPR at 95% recall.

A score is higher for samples that look like the model's own (maximum softmax: Hendrycks and Gimpel 2017,
arXiv:1610.02136; energy: Liu et al. 2020, arXiv:2010.03759; maximum logit: Hendrycks et al. 2022, arXiv:1911.11132).
The model's own samples are the positive class. Scores that are all equal tell nothing apart: AUROC 0.5, AUPR the share
of own samples, FPR 1.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

from robusteval.core.errors import require
from robusteval.core.statistics import percentile_interval, poisson_weights
from robusteval.core.types import Estimate
from robusteval.metrics.functional.ranked import SLACK, Ranking
from robusteval.metrics.functional.validate import scores_of, softmax
from robusteval.metrics.functional.weighing import Floats, in_blocks

OUTSIDE = 1 << 40
"""Added to ids of the second data set, so that equal ids of the two sets are resampled independently."""


def maximum_softmax(logits: ArrayLike) -> Floats:
    """Probability of the predicted class, [n] in [1/k, 1]."""
    largest: Floats = softmax(scores_of(logits)).max(axis=1)
    return largest


def energy(logits: ArrayLike, temperature: float = 1.0) -> Floats:
    """The negative energy, T logsumexp(logits / T), [n]: the sign that makes it higher for own samples."""
    require(temperature > 0, "temperature", "must be above 0", temperature)
    score: Floats = temperature * logsumexp(scores_of(logits).astype(np.float64) / temperature, axis=1)
    return score


def maximum_logit(logits: ArrayLike) -> Floats:
    """The largest logit, [n]."""
    largest: Floats = scores_of(logits).astype(np.float64).max(axis=1)
    return largest


SCORES: Mapping[str, Callable[[ArrayLike], Floats]] = {
    "softmax": maximum_softmax,
    "energy": energy,
    "logit": maximum_logit,
}


class Detection:
    """How well a score separates own samples [n] from others [l], as functions of weights [m, n + l], own first."""

    def __init__(self, own: ArrayLike, other: ArrayLike) -> None:
        """Sort the scores once.

        Raises:
            InputError: a side has no score, or a score that is not finite.
        """
        scores = []
        for name, side in (("own", own), ("other", other)):
            values = np.asarray(side, dtype=np.float64)
            require(values.ndim == 1 and len(values) > 0, name, "must have shape [n] with n >= 1", values.shape)
            require(bool(np.isfinite(values).all()), name, "must be finite", "nan or inf")
            scores.append(values)
        self.own, self.other = len(scores[0]), len(scores[1])
        self._ranking = Ranking(-np.concatenate(scores))
        self._is_own = self._ranking.order < self.own

    def _accepted(self, weights: Floats) -> tuple[Floats, Floats]:
        """Weight of own and of other samples at or above every distinct score, from the highest on."""
        ordered = np.take(weights, self._ranking.order, axis=1)
        own = np.cumsum(ordered * self._is_own, axis=1)
        other = np.cumsum(ordered * ~self._is_own, axis=1)
        return self._ranking.at_ends(own), self._ranking.at_ends(other)

    def auroc(self, weights: Floats) -> Floats:
        """The chance that an own sample scores higher than another, ties counted half, [m]."""

        def part(rows: Floats) -> Floats:
            own, other = self._accepted(rows)
            steps = np.diff(other, axis=1, prepend=0)
            below = own - np.diff(own, axis=1, prepend=0) / 2
            return _ratio((below * steps).sum(axis=1), own[:, -1] * other[:, -1])

        return in_blocks(part, weights)

    def aupr(self, weights: Floats) -> Floats:
        """Average precision: the precision at every own sample's score, averaged over them, [m]."""

        def part(rows: Floats) -> Floats:
            own, other = self._accepted(rows)
            precision = own / np.maximum(own + other, np.finfo(np.float64).tiny)
            area = (precision * np.diff(own, axis=1, prepend=0)).sum(axis=1)
            return _ratio(area, own[:, -1] * (other[:, -1] > 0))

        return in_blocks(part, weights)

    def fpr(self, weights: Floats, recall: float = 0.95) -> Floats:
        """The share of others accepted at the highest threshold that accepts `recall` of the own, [m]."""

        def part(rows: Floats) -> Floats:
            own, other = self._accepted(rows)
            first = (own >= recall * (1 - SLACK) * own[:, -1:]).argmax(axis=1)
            return _ratio(other[np.arange(len(rows)), first], other[:, -1] * (own[:, -1] > 0))

        return in_blocks(part, weights)


def _ratio(above: Floats, below: Floats) -> Floats:
    ratio: Floats = np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0)
    return ratio


def _single(own: ArrayLike, other: ArrayLike, measure: Callable[[Detection, Floats], Floats]) -> float:
    detection = Detection(own, other)
    return float(measure(detection, np.ones((1, detection.own + detection.other)))[0])


def auroc(own: ArrayLike, other: ArrayLike) -> float:
    """Area under the receiver operating curve of scores of own samples [n] against others [l], in [0, 1]."""
    return _single(own, other, Detection.auroc)


def average_precision(own: ArrayLike, other: ArrayLike) -> float:
    """Area under precision and recall as average precision, own samples positive, in (0, 1]."""
    return _single(own, other, Detection.aupr)


def fpr_at_recall(own: ArrayLike, other: ArrayLike, recall: float = 0.95) -> float:
    """The share of others accepted by the threshold that accepts `recall` of the own samples, in [0, 1]."""
    require(0 < recall <= 1, "recall", "must be above 0 and at most 1", recall)
    return _single(own, other, lambda detection, weights: detection.fpr(weights, recall))


def out_of_distribution(
    own: ArrayLike,
    other: ArrayLike,
    own_ids: NDArray[np.int64] | None = None,
    other_ids: NDArray[np.int64] | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Every measure of every score with its percentile interval; the two data sets are resampled independently.

    Args:
        own: logits [n, k] on the model's own data.
        other: logits [l, k] on the second data.
        own_ids: sample ids [n], 0..n-1 where left out.
        other_ids: sample ids [l], 0..l-1 where left out.
        draws: bootstrap draws.
        seed: of the resampling weights.

    Returns:
        `auroc-softmax`, `aupr-softmax`, `fpr95-softmax`, and the same for `energy` and `logit`.
    """
    own_logits, other_logits = scores_of(own, "own"), scores_of(other, "other")
    same = own_logits.shape[1] == other_logits.shape[1]
    require(same, "other", f"must have the {own_logits.shape[1]} classes of own", other_logits.shape)
    first = np.arange(len(own_logits)) if own_ids is None else own_ids
    second = np.arange(len(other_logits)) if other_ids is None else other_ids
    ids = np.concatenate([first, second + OUTSIDE])
    weights = poisson_weights(ids, draws, seed).astype(np.float64)
    found: dict[str, Estimate] = {}
    for score, function in SCORES.items():
        detection = Detection(function(own_logits), function(other_logits))
        measures = {"auroc": detection.auroc, "aupr": detection.aupr, "fpr95": detection.fpr}
        for measure, statistic in measures.items():
            value, drawn = float(statistic(np.ones((1, len(ids))))[0]), statistic(weights)
            kept = drawn[np.isfinite(drawn)]
            found[f"{measure}-{score}"] = percentile_interval(value, kept if len(kept) else np.array([value]))
    return found
