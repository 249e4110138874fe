"""Glass blur (Hendrycks and Dietterich 2019, arXiv:1903.12261).

Constants of make_cifar_c.py and make_tinyimagenet_c.py of github.com/hendrycks/robustness, and of
imagecorruptions-imaug 1.1.5, which are ImageNet-C's; MNIST-C's are of its corruptions.py, and its blur is in
glass_swaps.py.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.corruptions import kernels
from robusteval.corruptions.corruption import Category, Corruption, Families
from robusteval.corruptions.glass_swaps import swapped_behind_glass


@dataclass(frozen=True)
class GlassBlur(Corruption):
    """Pixels taken from near by, between two Gaussian blurs; constants: sigma, largest shift in pixels, rounds.

    The originals mean to swap two pixels, one place after the other from the lower right, but numpy's views make the
    swap a copy: each place takes the colour that its partner has at that time, and the partner keeps it. So it is
    here. A shift is from -largest to largest - 1, and a margin of the image is left as it is. Not every severity
    changes more than the one before.
    """

    name: ClassVar[str] = "glass-blur"
    category: ClassVar[Category] = "blur"
    ordered: ClassVar[bool] = False
    families: ClassVar[Families] = {
        "cifar": ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        "tiny-imagenet": ((0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2)),
        "imagenet": ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
        "mnist-c": ((0.7, 1, 2),),
    }

    def corrupt(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        """Blur, copy from near by, blur."""
        sigma, largest, rounds = self.constants(x, severity)
        if self.family == "mnist-c":
            return swapped_behind_glass(x, sigma, int(rounds), ids, rng)
        height, width = x.shape[-2:]
        levels = kernels.gaussian_blur(x.mul(255).round_(), sigma).floor_()
        first, *others = (
            _sources(shift, int(largest), height, width) for shift in _shifts(x, int(largest), int(rounds), ids, rng)
        )
        for sources in others:
            first = first.gather(1, sources)
        levels = levels.flatten(2).gather(2, first[:, None].expand(-1, 3, -1)).view(x.shape)
        return kernels.gaussian_blur(levels, sigma).div_(255)


def _shifts(x: Tensor, largest: int, rounds: int, ids: Tensor, rng: Stream) -> list[Tensor]:
    """The way from each place to its partner in each round, [n, h * w] as places."""
    height, width = x.shape[-2:]
    span = 2 * largest
    shifts = []
    for draw in range(rounds):
        # One number holds both coordinates, as its first two digits.
        number = rng.uniform(ids, (height * width,), draw).mul_(span)
        down = number.floor()
        right = number.sub_(down).mul_(span).floor_()
        shifts.append(((down - largest) * width + right - largest).long())
    return shifts


def _sources(shifts: Tensor, largest: int, height: int, width: int) -> Tensor:
    """The place [n, h * w] whose colour each place has once all have copied their partner's, last place first.

    A partner that comes later in the image has copied already, so its source is the place's source too; chains of
    such partners are followed at doubling length. A place plus the number of places stands for the end of a chain.
    """
    count = height * width
    places = torch.arange(count, device=shifts.device)
    inner = _inner(places // width, largest, height) & _inner(places % width, largest, width)
    chains = torch.empty(len(shifts), 2 * count, dtype=torch.int64, device=shifts.device)
    partners, chains[:, count:] = chains[:, :count], places + count
    torch.add(shifts * inner, places, out=partners)
    ends = (partners <= places) | ~inner.index_select(0, partners.flatten()).view_as(partners)
    partners.add_(ends, alpha=count)
    while not torch.equal(further := chains.gather(1, partners), partners):
        partners.copy_(further)
    return partners - count


def _inner(place: Tensor, largest: int, size: int) -> Tensor:
    return (place > largest) & (place <= size - largest)
