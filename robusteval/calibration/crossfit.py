"""Two-fold cross-fitting inside the evaluated samples: each half is scaled by the map fitted on the other.

So no sample is judged by a map that has seen it (TRUST R26), and none is set aside (cross-fitting: Chernozhukov et al.
2018, "Double/debiased machine learning", definition 3.1).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from robusteval.calibration.recalibrator import Recalibrator
from robusteval.core.errors import require
from robusteval.core.rng import Stream
from robusteval.core.types import Predictions
from robusteval.metrics.functional.validate import classification


class CrossFitted(NamedTuple):
    """Recalibrated samples.

    Attributes:
        logits: new logits or log-probabilities [n, k] float64.
        halves: the half of each sample, 0 or 1 [n].
        parameters: of the map that scaled half 0 (fitted on half 1), then of the one that scaled half 1.
    """

    logits: NDArray[np.float64]
    halves: NDArray[np.int64]
    parameters: tuple[Mapping[str, float], Mapping[str, float]]


def halves_of(ids: NDArray[np.int64], seed: int = 0) -> NDArray[np.int64]:
    """The half, 0 or 1, of each sample id [n]: the same for every view and every checkpoint."""
    tensor = torch.tensor(np.asarray(ids, dtype=np.int64))
    halves: NDArray[np.int64] = Stream.seeded(seed).stream("halves").integers(tensor, (), 0, 2).numpy()
    return halves


def cross_fitted(
    recalibrator: Recalibrator,
    logits: NDArray[np.float32],
    labels: NDArray[np.int64],
    ids: NDArray[np.int64],
    seed: int = 0,
) -> CrossFitted:
    """Recalibrate each half of the samples by the map fitted on the other.

    Args:
        recalibrator: what to fit.
        logits: [n, k].
        labels: [n].
        ids: sample ids [n], which with the seed decide the halves.
        seed: of the halves.

    Raises:
        InputError: logits, labels and ids do not fit, or a half is empty, as it is of a single sample.
    """
    scores, classes = classification(logits, labels)
    require(np.shape(ids) == classes.shape, "ids", f"must have shape [{len(classes)}]", np.shape(ids))
    halves = halves_of(ids, seed)
    sizes = (int((halves == 0).sum()), int((halves == 1).sum()))
    require(min(sizes) > 0, "samples", "must be enough that both halves have one: more samples, or another seed", sizes)
    scaled = np.empty(scores.shape, dtype=np.float64)
    parameters: list[Mapping[str, float]] = []
    for half in (0, 1):
        fitted = recalibrator.fit(scores[halves != half], classes[halves != half])
        scaled[halves == half] = fitted(scores[halves == half])
        parameters.append(fitted.parameters)
    return CrossFitted(scaled, halves, (parameters[0], parameters[1]))


def recalibrated(
    recalibrator: Recalibrator, predictions: Predictions, seed: int = 0
) -> tuple[Predictions, CrossFitted]:
    """Predictions after cross-fitting, on which any metric can be asked again, and how they came about.

    Raises:
        InputError: the logits were not kept, or a half is empty.
    """
    rule = f"recalibrator '{recalibrator}' needs them; of more than 100 classes they are kept only with --keep-logits"
    require(predictions.logits is not None, "logits", rule, None)
    assert predictions.logits is not None
    found = cross_fitted(recalibrator, predictions.logits, predictions.labels, predictions.samples, seed)
    logits: NDArray[Any] = found.logits
    return Predictions.from_logits(logits, predictions.labels, predictions.samples), found
