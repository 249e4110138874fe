"""Gaussian grid: nine classes on a 3x3 grid, a toy of GenLabel (Sohn et al., 2022, arXiv:2201.02354)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.data.toy import Toy, normal


@dataclass(frozen=True)
class GaussianGrid(Toy):
    """Normal clusters at distance 10, of covariance 0.1 I: a mix of two corners lands on the class between them.

    The paper has 5,000 points of each class. One unit is 1/24 in pixel units.

    Attributes:
        noise: standard deviation of a cluster in each coordinate.
    """

    name: ClassVar[str] = "gaussian-grid"
    low: ClassVar[float] = -12.0
    high: ClassVar[float] = 12.0
    classes: ClassVar[tuple[str, ...]] = tuple("012345678")

    samples: int = 4500
    noise: float = math.sqrt(0.1)

    def points(self, labels: Tensor, ids: Tensor, rng: Stream) -> Tensor:
        """The mean of the class, row by row from the lower left, and noise."""
        means = 10 * torch.stack([labels % 3 - 1, labels // 3 - 1], dim=1)
        return means + self.noise * normal(ids, rng)
