"""The contract of a corruption."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robusteval.core.component import Component
from robusteval.core.errors import SpecError, nearest, require
from robusteval.core.rng import Stream

Families = Mapping[str, tuple[float | tuple[float, ...], ...]]
LARGEST = {"cifar": 40}
"""The largest side in pixels that each family's constants are meant for."""


@dataclass(frozen=True)
class Corruption(Component):
    """A change of images that keeps their class: `corrupt` is the author's, the call is everyone's.

    Attributes:
        families: the constants of severity 1, 2, ... by data-set family.
        ordered: whether a higher severity changes the image more.
        family: whose constants to use; by default the one meant for the image's size.
    """

    families: ClassVar[Families]
    ordered: ClassVar[bool] = True

    family: str | None = None

    def __post_init__(self) -> None:
        if self.family is not None and self.family not in self.families:
            raise SpecError(f"{self.name} has no family {self.family!r}: {nearest(self.family, self.families)}")

    @abstractmethod
    def corrupt(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        """Corrupt x [n, 3, h, w] float64 in [0, 1]; values outside are clipped by the caller."""

    @property
    def severities(self) -> int:
        """The number of severities, 5 or 1."""
        return len(next(iter(self.families.values())))

    def constants(self, x: Tensor, severity: int) -> tuple[float, ...]:
        """The constants of a severity in the family that fits x."""
        constants = self.families[self._family(max(x.shape[-2:]))][severity - 1]
        return constants if isinstance(constants, tuple) else (constants,)

    def __call__(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        """Corrupt images.

        The images start from 8-bit levels and are cut to 8-bit levels, as in the original generators, whose cast to
        bytes truncates. Greyscale images are repeated to three channels, corrupted and averaged back.

        Args:
            x: [n, 1 or 3, h, w] float32 in [0, 1].
            severity: from 1 to `severities`.
            ids: [n] sample ids.
            rng: the run's stream; each image's numbers depend on seed, corruption, severity and id alone.

        Returns:
            Images like x.
        """
        require(1 <= severity <= self.severities, "severity", f"must be in 1..{self.severities}", severity)
        rule = "corruptions are of grey or colour images, [n, 1 or 3, height, width]"
        require(x.ndim == 4 and x.shape[1] in (1, 3) and max(x.shape[2:]) > 1, "images", rule, tuple(x.shape))
        levels = x.to(torch.float64).mul(255).round()
        colour = levels.expand(-1, 3, -1, -1) / 255
        changed = self.corrupt(colour, severity, ids, rng.stream("corruption", self.name, severity))
        levels = changed.clamp(0, 1).mul(255).floor()
        if x.shape[1] == 1:
            levels = levels.mean(dim=1, keepdim=True).round()
        return levels.div(255).to(x.dtype)

    def _family(self, side: int) -> str:
        if self.family is not None:
            return self.family
        for family, largest in LARGEST.items():
            if family in self.families and side <= largest:
                return family
        known = ", ".join(f"{family} (up to {LARGEST[family]} px)" for family in self.families)
        raise SpecError(f"{self.name} has no constants for images of {side} px: name one of its families, {known}")
