"""What needs samples in the order of their confidence: the KS error, and risk against coverage.

Samples of equal confidence cannot be told apart by a threshold: curves are read only where the confidence changes.
"""

import numpy as np
from numpy.typing import NDArray

from robusteval.core.errors import require
from robusteval.metrics.functional.validate import top_label
from robusteval.metrics.functional.weighing import Floats, Statistic, in_blocks, per_weight, unweighted

SLACK = 1e-9
"""Rounding of sums that may not decide whether an accuracy is reached."""


class Ranking:
    """Samples sorted by a score [n], and where runs of equal scores end."""

    def __init__(self, score: Floats) -> None:
        self.order = np.argsort(score, kind="stable")
        ordered = score[self.order]
        last = np.append(ordered[1:] != ordered[:-1], np.ones(min(1, len(score)), bool))
        self.ends = np.flatnonzero(last)
        self.distinct = len(self.ends) == len(score)

    def at_ends(self, running: Floats) -> Floats:
        """The columns of a running sum [m, n] where runs end."""
        return running if self.distinct else running[:, self.ends]


def ks_gap(confidence: Floats, correct: NDArray[np.bool_]) -> Statistic:
    """The largest distance between cumulated correctness and cumulated confidence, from the least confident on."""
    ranking = Ranking(confidence)
    gaps = (correct - confidence)[ranking.order]

    def largest(weights: Floats) -> Floats:
        running = np.take(weights, ranking.order, axis=1)
        running *= gaps
        running = ranking.at_ends(np.cumsum(running, axis=1, out=running))
        return per_weight(np.maximum(running.max(axis=1), -running.min(axis=1)), weights)

    return lambda weights: in_blocks(largest, weights)


class RiskCoverage:
    """The share of errors (risk) among the most confident samples, for every coverage."""

    def __init__(self, confidence: Floats, correct: NDArray[np.bool_]) -> None:
        self._ranking = Ranking(-confidence)
        self._wrong = ~correct
        self._wrong_in_order = self._wrong[self._ranking.order]

    def curve(self, weights: Floats) -> tuple[Floats, Floats]:
        """Weight covered and weight of errors in it at every distinct confidence, from the highest on: [m, d] each."""
        covered = np.take(weights, self._ranking.order, axis=1)
        errors = covered * self._wrong_in_order
        np.cumsum(covered, axis=1, out=covered)
        np.cumsum(errors, axis=1, out=errors)
        return self._ranking.at_ends(covered), self._ranking.at_ends(errors)

    def area(self, weights: Floats) -> Floats:
        """The mean over samples of the risk at their confidence (AURC), [m]."""

        def part(rows: Floats) -> Floats:
            covered, errors = self.curve(rows)
            steps = np.diff(covered, axis=1, prepend=0)
            np.maximum(covered, np.finfo(np.float64).tiny, out=covered)
            errors /= covered
            return per_weight(np.einsum("mn,mn->m", errors, steps), rows)

        return in_blocks(part, weights)

    def excess(self, weights: Floats) -> Floats:
        """AURC less that of the best order, r + (1 - r) ln(1 - r) for risk r at full coverage (equation 5), [m]."""
        risk = per_weight(weights @ self._wrong.astype(np.float64), weights)
        right = 1 - risk
        best = risk + right * np.log(right, out=np.zeros_like(right), where=right > 0)
        return np.maximum(self.area(weights) - best, 0)

    def coverage(self, weights: Floats, accuracy: float) -> Floats:
        """The largest share of samples that has at least `accuracy`, [m]; 0 where none has."""

        def part(rows: Floats) -> Floats:
            covered, errors = self.curve(rows)
            enough = covered - errors >= accuracy * (1 - SLACK) * covered
            return per_weight(np.where(enough, covered, 0).max(axis=1), rows)

        return in_blocks(part, weights)


def ks_error(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Kolmogorov-Smirnov calibration error of the top label (Gupta et al. 2021, arXiv:2006.12800), in [0, 1]."""
    confidence, correct = top_label(logits, labels)
    return unweighted(ks_gap(confidence, correct), len(correct))


def area_under_risk_coverage(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Area under the risk-coverage curve (Geifman, Uziel and El-Yaniv 2019, arXiv:1805.08206), in [0, 1]."""
    confidence, correct = top_label(logits, labels)
    return unweighted(RiskCoverage(confidence, correct).area, len(correct))


def excess_area_under_risk_coverage(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """AURC above that of the best order at the same accuracy (Geifman et al. 2019, arXiv:1805.08206), in [0, 1]."""
    confidence, correct = top_label(logits, labels)
    return unweighted(RiskCoverage(confidence, correct).excess, len(correct))


def coverage_at_accuracy(logits: NDArray[np.float32], labels: NDArray[np.int64], accuracy: float = 0.95) -> float:
    """The largest share of samples, most confident first, with at least `accuracy`; 0 where no share has, in [0, 1]."""
    require(0 < accuracy <= 1, "accuracy", "must be above 0 and at most 1", accuracy)
    curve = RiskCoverage(*top_label(logits, labels))
    return unweighted(lambda weights: curve.coverage(weights, accuracy), len(np.asarray(labels)))
