"""What the bare metric functions check before they compute, and the probabilities they compute from."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robusteval.core.errors import require
from robusteval.core.types import Predictions

Floats = NDArray[np.float64]


def scores_of(logits: ArrayLike, name: str = "logits") -> NDArray[np.float32]:
    """Logits [n, k] as an array.

    Raises:
        InputError: type or shape does not fit, there is no sample, or a logit is not finite.
    """
    scores = np.asarray(logits)
    require(scores.dtype.kind in "fiu", name, "must be an array of numbers", str(scores.dtype))
    require(scores.ndim == 2 and scores.size > 0, name, "must have shape [n, k] with n >= 1", scores.shape)
    require(bool(np.isfinite(scores).all()), name, "must be finite", "nan or inf")
    return scores


def classification(logits: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Logits [n, k] and labels [n] as arrays. A class without a label is no mistake: it was not seen.

    Raises:
        InputError: types or shapes do not fit, there is no sample, a logit is not finite, or a label is not a class.
    """
    unchecked, classes = np.asarray(logits), np.asarray(labels)
    require(unchecked.dtype.kind in "fiu", "logits", "must be an array of numbers", str(unchecked.dtype))
    require(classes.dtype.kind in "iu", "labels", "must be an array of integers", str(classes.dtype))
    scores = scores_of(unchecked)
    require(classes.shape == scores.shape[:1], "labels", f"must have shape [{len(scores)}]", classes.shape)
    lowest, highest, largest = int(classes.min()), int(classes.max()), scores.shape[1] - 1
    require(lowest >= 0 and highest <= largest, "labels", f"must be in 0..{largest}", (lowest, highest))
    return scores, classes.astype(np.int64)


def softmax(logits: NDArray[np.float32]) -> Floats:
    """Probabilities [n, k] in float64, to the bit those of `Predictions.from_logits`."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return np.exp(shifted, out=shifted)


def top_label(logits: ArrayLike, labels: ArrayLike, rows: int = 20_000) -> tuple[Floats, NDArray[np.bool_]]:
    """Probability of the predicted class and whether it is the label, both [n]: all that top-label metrics need.

    Args:
        logits: [n, k].
        labels: [n].
        rows: taken at a time, so that they stay in the cache.
    """
    scores, classes = classification(logits, labels)
    confidence, correct = np.empty(len(scores)), np.empty(len(scores), dtype=bool)
    for start in range(0, len(scores), rows):
        part = slice(start, start + rows)
        confidence[part], correct[part] = _top_label(scores[part], classes[part])
    return confidence, correct


def _top_label(scores: NDArray[np.float32], classes: NDArray[np.int64]) -> tuple[Floats, NDArray[np.bool_]]:
    """The same of few rows. Class by class: steps along k are slow where k is small."""
    by_class = np.array(scores.T, dtype=np.float64, order="C")
    by_class -= by_class.max(axis=0)
    largest = by_class == 0
    correct = largest[classes, np.arange(len(classes))]
    tied = np.flatnonzero(correct & (largest.sum(axis=0) > 1))  # the first of equal logits is the prediction
    correct[tied] = largest[:, tied].argmax(axis=0) == classes[tied]
    return np.exp(-np.log(np.exp(by_class, out=by_class).sum(axis=0))), correct


def probabilities_of(predictions: Predictions, metric: str) -> Floats:
    """Probabilities [n, k] of predictions whose logits were kept.

    Raises:
        InputError: they were not.
    """
    rule = f"metric '{metric}' needs them; of more than 100 classes they are kept only with --keep-logits"
    require(predictions.logits is not None, "logits", rule, None)
    assert predictions.logits is not None
    return softmax(predictions.logits)
