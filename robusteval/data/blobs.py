"""Blobs: round normal clusters, after scikit-learn's make_blobs (Pedregosa et al., 2011, arXiv:1201.0490)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robusteval.core.errors import require
from robusteval.core.rng import Stream
from robusteval.data.toy import Toy, normal


@dataclass(frozen=True)
class Blobs(Toy):
    """Clusters whose centres stand evenly on the unit circle, where scikit-learn draws them at random.

    One unit is 0.25 in pixel units.

    Attributes:
        noise: standard deviation of a cluster.
        count: of clusters, each a class.
    """

    name: ClassVar[str] = "blobs"
    low: ClassVar[float] = -2.0
    high: ClassVar[float] = 2.0

    noise: float = 0.2
    count: int = 3

    def __post_init__(self) -> None:
        require(self.count >= 2, "count", "must be at least 2", self.count)
        super().__post_init__()

    @property
    def classes(self) -> tuple[str, ...]:
        """The clusters' numbers, from the right against the clock."""
        return tuple(str(number) for number in range(self.count))

    def points(self, labels: Tensor, ids: Tensor, rng: Stream) -> Tensor:
        """The centre of the class and noise."""
        angle = 2 * math.pi * labels.to(torch.float64) / self.count
        return torch.stack([angle.cos(), angle.sin()], dim=1) + self.noise * normal(ids, rng)
