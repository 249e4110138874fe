"""Which of two views of a class a model has learned (Chidambaram et al. 2023, arXiv:2210.13512)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from robusteval.core.errors import require
from robusteval.core.rng import Stream
from robusteval.probes.probe import Measurement, Probe, Statistic, Subject
from robusteval.results.store import Facts

Floats = NDArray[np.float64]
VIEWS = ("both", "first", "second")


@dataclass(frozen=True)
class Multiview(Probe):
    """Accuracy with both views, with the first alone and with the second alone.

    It is for data such as `two-views(view='both')`, whose images hold a view in each half of the channels, both at half
    strength. What is removed is black, and what stays is brought to its full strength, as the paper tests. `learned`
    says from these rows of how many classes both views were learned, as `features_learned` of the cell.

    Attributes:
        strength: factor of the view that stays; the result is cut to [0, 1].
    """

    name: ClassVar[str] = "multiview"

    strength: float = 2.0

    def __post_init__(self) -> None:
        require(0 < self.strength < float("inf"), "strength", "must be above 0", self.strength)

    def measure(self, subject: Subject, rng: Stream) -> Iterator[Measurement]:
        """Three passes of the original model."""
        labels = subject.batch.y
        shown = views(subject.batch.x, self.strength)
        correct = {f"accuracy_{name}": subject.logits(x).argmax(dim=1) == labels for name, x in shown.items()}
        columns = {name: column.to(torch.float64).cpu() for name, column in correct.items()}
        frame = pd.DataFrame({"sample": subject.batch.ids.cpu(), "label": labels.cpu(), **columns})
        yield Measurement(self.spec, frame, Facts(forwards=len(shown) * len(frame)))

    def statistics(self, frame: pd.DataFrame) -> Mapping[str, Statistic]:
        """Numbers of a whole cell that are no means over its rows, each a function of resampling weights [m, n]."""
        if frame["label"].nunique() < 3:
            return {}
        return {"features_learned": partial(learned, frame)}


def views(x: Tensor, strength: float = 2.0) -> dict[str, Tensor]:
    """Images as they are, and with either view alone, by the name of what they show.

    Raises:
        InputError: the images do not hold two views.
    """
    rule = "must hold two views in 2 or 6 channels, as those of two-views(view='both') do, for multiview"
    require(x.shape[1] in (2, 6), "images", rule, tuple(x.shape[1:]))
    first, second = x.chunk(2, dim=1)
    for view, place in ((first, "first"), (second, "second")):
        missing = f"must hold both views, as those of two-views(view='both') do, but the {place} is black"
        require(bool(view.any()), "images", missing, tuple(x.shape[1:]))
    black = torch.zeros_like(first)
    alone = [(strength * view).clamp(0, 1) for view in (first, second)]
    return {"both": x, "first": torch.cat([alone[0], black], dim=1), "second": torch.cat([black, alone[1]], dim=1)}


def learned(frame: pd.DataFrame, weights: Floats | None = None) -> Floats:
    """The share of classes both of whose views were learned, [m], each in [0, 1].

    A view of a class is learned where the accuracy on the class with that view alone is at least half of that with
    both, and above twice chance, 1 / classes. Classes are the labels that occur; one without weight in a draw counts
    for nothing in it, and a draw without any gives NaN, which a bootstrap leaves out.

    Args:
        frame: a finished cell, with `label` and the columns of `multiview`.
        weights: resampling weights [m, n]; None for one row of ones.

    Raises:
        InputError: there are fewer than three classes, and no accuracy is above twice chance.
    """
    classes, members = np.unique(frame["label"].to_numpy(), return_inverse=True)
    rule = "must be at least 3: with fewer no accuracy is above twice chance"
    require(len(classes) >= 3, "classes", rule, len(classes))
    rows = np.ones((1, len(frame))) if weights is None else weights
    of_class = (members[:, None] == np.arange(len(classes))).astype(np.float64)
    counts = rows @ of_class
    with np.errstate(invalid="ignore"):
        both, first, second = (
            (rows * frame[f"accuracy_{view}"].to_numpy(np.float64)) @ of_class / counts for view in VIEWS
        )
        known = [(alone >= both / 2) & (alone > 2 / len(classes)) for alone in (first, second)]
        share: Floats = (known[0] & known[1]).sum(axis=1) / (counts > 0).sum(axis=1)
    return share
