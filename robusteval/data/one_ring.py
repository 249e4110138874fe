"""One Ring: a cluster inside a ring, a toy of k-mixup (Greenewald et al., 2021, arXiv:2106.02933).

The paper names the set and shows it; its constants are not known, those here are a choice of this project.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.data.toy import Toy, normal, shares


@dataclass(frozen=True)
class OneRing(Toy):
    """A ring of radius 1 round a cluster at its centre, both with normal noise.

    One unit is 0.25 in pixel units.

    Attributes:
        noise: standard deviation in each coordinate.
    """

    name: ClassVar[str] = "one-ring"
    low: ClassVar[float] = -2.0
    high: ClassVar[float] = 2.0
    classes: ClassVar[tuple[str, ...]] = ("ring", "centre")

    noise: float = 0.15

    def points(self, labels: Tensor, ids: Tensor, rng: Stream) -> Tensor:
        """A point of the ring, or the origin, and noise."""
        angle = 2 * math.pi * shares(ids, rng)
        ring = torch.stack([angle.cos(), angle.sin()], dim=1)
        return ring * (labels[:, None] == 0) + self.noise * normal(ids, rng)
