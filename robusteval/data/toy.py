"""The contract of a toy data set: points with a class, drawn at random from a shape that a formula gives."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robusteval.core.errors import require
from robusteval.core.rng import Stream
from robusteval.data.dataset import DataSet, Split, SplitName

_TEST = 1000


@dataclass(frozen=True)
class Toy(DataSet):
    """Points in a fixed box, which becomes [0, 1] in every coordinate: `classes` and `points` are the author's.

    A point is an image of shape [d, 1, 1]. The classes take turns, so that they are balanced. The 1,000 test points
    are drawn like the training points, independently; more samples leave the first ones as they are.

    Attributes:
        low: the lower end of the box in every coordinate, in the paper's units.
        high: the upper end.
        samples: training points of all classes together.
        noise: how far points stray from the shape, in the paper's units; at 0 they lie on it.
        seed: of the data.
    """

    low: ClassVar[float]
    high: ClassVar[float]

    samples: int = 1000
    noise: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.samples >= len(self.classes), "samples", f"must be at least {len(self.classes)}", self.samples)
        require(0 <= self.noise < self.high - self.low, "noise", "must be at least 0 and less than the box", self.noise)

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """Class names (a class variable will do)."""

    @abstractmethod
    def points(self, labels: Tensor, ids: Tensor, rng: Stream) -> Tensor:
        """A point of each class in labels [n], [n, d] in the paper's units."""

    def scaled(self, points: Tensor) -> Tensor:
        """Points from the paper's units to pixel units; what noise threw out of the box is mirrored at its edge."""
        place = (points - self.low) / (self.high - self.low)
        return 1 - (place % 2 - 1).abs()

    def load(self, split: SplitName) -> Split:
        """Draw the points of a split."""
        ids = torch.arange(self.samples if split == "train" else _TEST)
        labels = ids % len(self.classes)
        points = self.points(labels, ids, Stream.seeded(self.seed).stream("toy", self.name, split))
        return Split.of(self.scaled(points)[:, :, None, None], labels, self.classes, ids)


def shares(ids: Tensor, rng: Stream, count: int = 1) -> Tensor:
    """Numbers evenly spread over [0, 1), [n, count]; [n] where one is asked."""
    drawn = rng.stream("shares").uniform(ids, (count,), dtype=torch.float64)
    return drawn[:, 0] if count == 1 else drawn


def normal(ids: Tensor, rng: Stream, dimension: int = 2) -> Tensor:
    """Standard normal numbers, [n, dimension]."""
    return rng.stream("noise").normal(ids, (dimension,)).to(torch.float64)


def laplace(ids: Tensor, rng: Stream) -> Tensor:
    """Laplace numbers of scale 1, [n, 2]: the difference of two exponential ones."""
    uniform = rng.stream("noise").uniform(ids, (2, 2), dtype=torch.float64)
    return torch.log1p(-uniform[:, 0]) - torch.log1p(-uniform[:, 1])
