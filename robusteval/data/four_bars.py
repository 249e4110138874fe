"""Four Bars: parallel bars of two classes in turn, a toy of k-mixup (Greenewald et al., 2021, arXiv:2106.02933).

The paper names the set and shows it; its constants are not known, those here are a choice of this project.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.data.toy import Toy, normal, shares


@dataclass(frozen=True)
class FourBars(Toy):
    """Upright bars of length 3 at -1.5, -0.5, 0.5 and 1.5, of the classes 0, 1, 0, 1, with normal noise.

    One unit is 0.2 in pixel units.

    Attributes:
        noise: standard deviation in each coordinate.
    """

    name: ClassVar[str] = "four-bars"
    low: ClassVar[float] = -2.5
    high: ClassVar[float] = 2.5
    classes: ClassVar[tuple[str, ...]] = ("first and third", "second and fourth")

    noise: float = 0.1

    def points(self, labels: Tensor, ids: Tensor, rng: Stream) -> Tensor:
        """A place on one of the two bars of the class, and noise."""
        choice, height = shares(ids, rng, 2).T
        bar = 2 * (choice * 2).floor() + labels
        return torch.stack([bar - 1.5, 3 * height - 1.5], dim=1) + self.noise * normal(ids, rng)
