"""Spirals: two arms coiled into each other, the toy of Local Mixup (Baena et al., 2022, arXiv:2201.04368)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.data.toy import Toy, shares


@dataclass(frozen=True)
class Spirals(Toy):
    """The arm (-n cos n, n sin n) with n = 4 pi sqrt(U), two turns, and its negation, point by point.

    The paper standardises each coordinate, whose standard deviation is about 6.3 units here, and trains with 1,600
    points. One unit is 1/28 in pixel units, so one standard deviation, the unit of the paper's radius, is about 0.22.

    Attributes:
        noise: each coordinate of the first arm is moved by up to this much, evenly, and always up, as in the paper.
    """

    name: ClassVar[str] = "spirals"
    low: ClassVar[float] = -14.0
    high: ClassVar[float] = 14.0
    classes: ClassVar[tuple[str, ...]] = ("first arm", "second arm")

    samples: int = 1600
    noise: float = 0.5

    def points(self, labels: Tensor, ids: Tensor, rng: Stream) -> Tensor:
        """A point of the first arm and its negation have neighbouring ids."""
        turn, *moved = shares(ids // 2, rng, 3).T
        n = 4 * math.pi * turn.sqrt()
        arm = torch.stack([-n * n.cos(), n * n.sin()], dim=1) + self.noise * torch.stack(moved, dim=1)
        return (1 - 2 * labels[:, None]) * arm
