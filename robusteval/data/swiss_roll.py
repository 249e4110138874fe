"""Swiss Roll: one rolled-up band of two classes, a toy of k-mixup (Greenewald et al., 2021, arXiv:2106.02933).

The paper names the set and shows it; its constants are not known. Those here are scikit-learn's make_swiss_roll without
the third dimension, cut in two classes at the middle of the angle.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.data.toy import Toy, normal, shares


@dataclass(frozen=True)
class SwissRoll(Toy):
    """The band (t cos t, t sin t), t from 1.5 pi to 3 pi in one class, on to 4.5 pi in the other, with normal noise.

    One unit is 1/32 in pixel units.

    Attributes:
        noise: standard deviation in each coordinate.
    """

    name: ClassVar[str] = "swiss-roll"
    low: ClassVar[float] = -16.0
    high: ClassVar[float] = 16.0
    classes: ClassVar[tuple[str, ...]] = ("inner half", "outer half")

    noise: float = 0.5

    def points(self, labels: Tensor, ids: Tensor, rng: Stream) -> Tensor:
        """A place on the half of the class, and noise."""
        t = 1.5 * math.pi * (1 + labels + shares(ids, rng))
        return torch.stack([t * t.cos(), t * t.sin()], dim=1) + self.noise * normal(ids, rng)
