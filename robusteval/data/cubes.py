"""Cubes: classes side by side without a gap, a toy of GenLabel (Sohn et al., 2022, arXiv:2201.02354)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from robusteval.core.errors import require
from robusteval.core.rng import Stream
from robusteval.data.toy import Toy, normal, shares


@dataclass(frozen=True)
class Cubes(Toy):
    """In two dimensions the squares of side 2 round (-1, 0) and (1, 0), in three the eight octants of a cube of side 4.

    The paper has 20 points in each class: 40 samples in two dimensions, 160 in three. That its eight cubes are the
    octants, with centres at (-1 or 1, -1 or 1, -1 or 1), is read from "unit offset". One unit is 0.25 in pixel units.

    Attributes:
        noise: standard deviation in each coordinate; the paper has none.
        dimension: two squares or eight cubes.
    """

    name: ClassVar[str] = "cubes"
    low: ClassVar[float] = -2.0
    high: ClassVar[float] = 2.0

    samples: int = 160
    dimension: Literal[2, 3] = 2

    def __post_init__(self) -> None:
        require(self.dimension in (2, 3), "dimension", "must be 2 or 3", self.dimension)
        super().__post_init__()

    @property
    def classes(self) -> tuple[str, ...]:
        """The cubes' numbers: the last coordinate changes first."""
        return tuple(str(number) for number in range(len(self.centres)))

    @property
    def centres(self) -> Tensor:
        """The middle of each cube, [classes, dimension]."""
        ends = torch.tensor([-1.0, 1.0], dtype=torch.float64)
        if self.dimension == 2:
            return torch.stack([ends, torch.zeros_like(ends)], dim=1)
        return torch.cartesian_prod(ends, ends, ends)

    def points(self, labels: Tensor, ids: Tensor, rng: Stream) -> Tensor:
        """Evenly spread over the cube of the class."""
        inside = 2 * shares(ids, rng, self.dimension) - 1
        return self.centres[labels] + inside + self.noise * normal(ids, rng, self.dimension)
