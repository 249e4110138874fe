"""The contract of a corruption."""

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Literal

import torch
from torch import Tensor

from robusteval.core.component import Component
from robusteval.core.errors import SpecError, nearest, require
from robusteval.core.rng import Stream

Families = Mapping[str, tuple[float | tuple[float, ...], ...]]
LARGEST: Mapping[str, float] = MappingProxyType({"cifar": 40, "tiny-imagenet": 64, "imagenet": math.inf})
"""The largest side in pixels that each family's constants are meant for; images go to the first that holds them."""

BLOCK = 128
"""Images corrupted at a time on a CPU."""

Category = Literal["noise", "blur", "weather", "digital", "extra", "mnist-c", "cifar10-c-bar"]
"""The four kinds of the 15 test corruptions, the extra ones, and further sets, which are reported apart (TRUST R21)."""


@dataclass(frozen=True)
class Corruption(Component):
    """A change of images that keeps their class: `corrupt` is the author's, the call is everyone's.

    Attributes:
        category: which mean it belongs to.
        families: the constants of severity 1, 2, ... by data-set family.
        ordered: whether a higher severity changes the image more.
        family: whose constants to use; by default the one meant for the image's size.
    """

    category: ClassVar[Category]
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
        return len(self.families[self.family or next(iter(self.families))])

    def constants(self, x: Tensor, severity: int) -> tuple[float, ...]:
        """The constants of a severity in the family that fits x."""
        constants = self.families[self.family_of(max(x.shape[-2:]))][severity - 1]
        return constants if isinstance(constants, tuple) else (constants,)

    def __call__(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        """Corrupt images.

        The images start from 8-bit levels and are cut to 8-bit levels, as in the original generators, whose cast to
        bytes truncates; those of MNIST-C are rounded, as its notebook visualize_corruptions.ipynb does
        (github.com/google-research/mnist-c). Greyscale images are repeated to three channels, corrupted and averaged
        back.

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
        draws = rng.stream("corruption", self.name, severity)
        # A block fits the caches of a CPU; its bits do not depend on its size.
        rows = BLOCK if x.device.type == "cpu" else max(len(x), 1)
        blocks = zip(torch.split(x, rows), torch.split(ids, rows), strict=True)
        return torch.cat([self._block(part, severity, numbers, draws) for part, numbers in blocks])

    def _block(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        colour = x.to(torch.float64).mul(255).round_().div_(255).expand(-1, 3, -1, -1).contiguous()
        levels = self.corrupt(colour, severity, ids, rng).clamp(0, 1).mul_(255)
        # MNIST-C's levels are float32 when they are rounded, so that 127.49999999999999 is a half, too.
        rounds = self.family_of(max(x.shape[-2:])) == "mnist-c"
        levels = levels.to(torch.float32).round_() if rounds else levels.floor_()
        if x.shape[1] == 1:
            levels = levels.mean(dim=1, keepdim=True).round_()
        return levels.to(x.dtype).div_(255)

    def family_of(self, side: int) -> str:
        """The family whose constants are used for images of so many pixels, the larger side."""
        if self.family is not None:
            return self.family
        fitting = [family for family, largest in LARGEST.items() if family in self.families and side <= largest]
        return (fitting or list(self.families))[0]

    def misfit(self, side: int) -> str | None:
        """A sentence where the family that is named is meant for images of another size."""
        meant = next(family for family, largest in LARGEST.items() if side <= largest)
        if self.family in (None, meant) or self.family not in LARGEST:
            return None
        return f"{self.spec}: the constants of {self.family} are not meant for images of {side} px; {meant}'s are"
