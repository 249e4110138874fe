"""What the bare metric functions check before they compute."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robusteval.core.errors import require


def classification(logits: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Logits [n, k] and labels [n] as arrays.

    Raises:
        InputError: types or shapes do not fit, there is no sample, a logit is not finite, or a label is not a class.
    """
    scores, classes = np.asarray(logits), np.asarray(labels)
    require(scores.dtype.kind in "fiu", "logits", "must be an array of numbers", str(scores.dtype))
    require(classes.dtype.kind in "iu", "labels", "must be an array of integers", str(classes.dtype))
    require(scores.ndim == 2 and len(scores) > 0, "logits", "must have shape [n, k] with n >= 1", scores.shape)
    require(classes.shape == scores.shape[:1], "labels", f"must have shape [{len(scores)}]", classes.shape)
    require(bool(np.isfinite(scores).all()), "logits", "must be finite", "nan or inf")
    lowest, highest, largest = int(classes.min()), int(classes.max()), scores.shape[1] - 1
    require(lowest >= 0 and highest <= largest, "labels", f"must be in 0..{largest}", (lowest, highest))
    return scores, classes.astype(np.int64)
