"""How well a model's logits tell a second data set from its own (Hendrycks and Gimpel 2017, arXiv:1610.02136).

The scores, with their sources, are those of `metrics.functional.ood`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from robusteval.core.errors import require
from robusteval.core.rng import Stream
from robusteval.data import DATA, Split
from robusteval.metrics.functional.ood import OUTSIDE, SCORES, Detection
from robusteval.probes.probe import Measurement, Probe, Statistic, Subject
from robusteval.results.store import Facts

Shape = tuple[int, int, int]
Floats = NDArray[np.float64]

NO_LABEL = -1
"""The label of rows of the second data set."""

SIDES = ("score", "outside")
"""What names the columns of own samples and of the second set's."""

MEASURES: Mapping[str, Callable[[Detection, Floats], Floats]] = MappingProxyType(
    {"auroc": Detection.auroc, "aupr": Detection.aupr, "fpr95": Detection.fpr}
)
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a grey level (ITU-R BT.601, as in Pillow's mode L)."""

_ROWS = 1000


@dataclass(frozen=True)
class Ood(Probe):
    """`auroc-S`, `aupr-S`, `fpr95-S` of own images against a second data set, S one of softmax, energy and logit.

    Own images are the positive class, so AUPR depends on how many there are of each. `score_S` is a sample's score, and
    `outside_S` that of one of the second set. Those are rows too, in the first shard: they have the label -1, and their
    place in the test split plus 2^40 as the id, so that both sets are resampled independently.

    Images of another shape are brought to the model's: grey ones repeated over three channels, colours made grey,
    other sizes stretched with antialiased bilinear interpolation and rounded to 8 bits. That leaves traces, which alone
    can tell the sets apart; a warning says so.

    Attributes:
        data: spec of the second data set, whose test split is taken.
        samples: how many of it, from the first on; None for all.
    """

    name: ClassVar[str] = "ood"

    data: str
    samples: int | None = None

    def __post_init__(self) -> None:
        DATA.parse(self.data)
        require(self.samples is None or self.samples >= 1, "samples", "must be at least 1, or None", self.samples)

    @property
    def depends(self) -> str:
        """The digest of the second data set's images."""
        return self._split().digest

    def remark(self, shape: tuple[int, ...]) -> str | None:
        """What was done to images of another shape."""
        other = _shape(self.data)
        if other == shape or not (_is_picture(other) and _is_picture(shape)):
            return None
        return f"{self.spec}: images are brought from {_written(other)} to {_written(shape)}, which may tell them apart"

    def measure(self, subject: Subject, rng: Stream) -> Iterator[Measurement]:
        """One pass over own images, and in the first shard one over the second set."""
        _, labels, ids = (tensor.cpu().numpy() for tensor in subject.batch)
        parts = [_rows(ids, labels, "score", _scores([subject.logits(subject.batch.x)]))]
        if subject.data[1] == 0:
            found = _scores(list(self._outside(subject)))
            place = np.arange(len(next(iter(found.values()))))
            parts.append(_rows(place + OUTSIDE, np.full_like(place, NO_LABEL), "outside", found))
        frame = pd.concat(parts, ignore_index=True)
        yield Measurement(self.spec, frame, Facts(forwards=len(frame)))

    def statistics(self, frame: pd.DataFrame) -> Mapping[str, Statistic]:
        """The three measures of each score, as functions of resampling weights [m, n] of all rows."""
        outside = frame["label"].to_numpy() == NO_LABEL
        order = np.argsort(outside, kind="stable")
        found: dict[str, Statistic] = {}
        for score in SCORES:
            own, other = frame.loc[~outside, f"score_{score}"], frame.loc[outside, f"outside_{score}"]
            detection = Detection(own.to_numpy(), other.to_numpy())
            for measure, function in MEASURES.items():
                found[f"{measure}-{score}"] = partial(_reordered, partial(function, detection), order)
        return found

    def _split(self) -> Split:
        split = DATA.parse(self.data).split("test")
        return split if self.samples is None else split.first(self.samples)

    def _outside(self, subject: Subject) -> Iterator[Tensor]:
        """Logits of the second set, chunk by chunk; its images, in the model's shape, are kept for the next model."""
        channels, height, width = subject.batch.x.shape[1:]
        shape = (channels, height, width)
        images = subject.shared.get((self.spec, shape), lambda: brought(self._split().images, shape))
        for part in torch.split(images, _ROWS):
            x = part.to(torch.float32).div_(255) if part.dtype == torch.uint8 else part
            yield subject.logits(x.to(subject.batch.x.device))


def brought(images: Tensor, shape: Shape) -> Tensor:
    """Images [n, c, h, w], uint8 or floats in [0, 1], in another shape and of the same type, as `Ood` says.

    Raises:
        InputError: it is vectors or images of two views that would have to change.
    """
    own = tuple(images.shape[1:])
    if own == shape:
        return images
    rule = f"must be pictures, grey or in colour, to be brought to {_written(shape)}"
    require(_is_picture(own) and _is_picture(shape), "data", rule, _written(own))
    return torch.cat([_brought(part, shape) for part in torch.split(images, _ROWS)])


def _is_picture(shape: Sequence[int]) -> bool:
    """Whether it is neither a vector nor two views."""
    return shape[0] in (1, 3) and tuple(shape[1:]) != (1, 1)


def _brought(images: Tensor, shape: Shape) -> Tensor:
    channels, *size = shape
    x = images.to(torch.float32)
    if x.shape[1] > channels:
        x = (x * x.new_tensor(LUMA)[:, None, None]).sum(dim=1, keepdim=True)
    if list(x.shape[2:]) != size:
        x = functional.interpolate(x, size, mode="bilinear", antialias=True)
    x = x.expand(-1, channels, -1, -1)
    return x.round().clamp(0, 255).to(torch.uint8) if images.dtype == torch.uint8 else x.clamp(0, 1)


def _scores(logits: Sequence[Tensor]) -> dict[str, Floats]:
    """Every score of logits [n, k] in parts, [n] float64 each."""
    arrays = [part.cpu().numpy() for part in logits]
    return {name: np.concatenate([score(part) for part in arrays]) for name, score in SCORES.items()}


def _rows(ids: NDArray[np.int64], labels: NDArray[np.int64], side: str, scores: Mapping[str, Floats]) -> pd.DataFrame:
    """Rows of one side; the other side's columns are missing."""
    blank = np.full(len(ids), np.nan)
    columns = {f"{kind}_{name}": scores[name] if kind == side else blank for kind in SIDES for name in SCORES}
    return pd.DataFrame({"sample": ids, "label": labels, **columns})


def _reordered(statistic: Statistic, order: NDArray[np.int64], weights: Floats) -> Floats:
    return statistic(weights[:, order])


@lru_cache(maxsize=16)
def _shape(data: str) -> Shape:
    """The shape of a data set's images, for a warning alone."""
    return DATA.parse(data).split("test").shape


def _written(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
