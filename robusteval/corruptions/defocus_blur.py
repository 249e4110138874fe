"""Defocus blur (Hendrycks and Dietterich 2019, arXiv:1903.12261).

Constants of make_cifar_c.py and make_tinyimagenet_c.py of github.com/hendrycks/robustness, and of
imagecorruptions-imaug 1.1.5, which are ImageNet-C's.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.corruptions import kernels
from robusteval.corruptions.corruption import Category, Corruption, Families


@dataclass(frozen=True)
class DefocusBlur(Corruption):
    """The average over a disk, the border mirrored; constants: radius, and sigma of the disk's smooth edge, in pixels.

    As in the originals the disk has whole pixels, so a radius below 1 is one pixel and its smooth edge is the blur;
    and the edge is smoothed inside a square that at radius 8 and 10 touches the disk. Mirrored there, the weights sum
    to more than 1, so that the image grows brighter by 1 percent.
    """

    name: ClassVar[str] = "defocus-blur"
    category: ClassVar[Category] = "blur"
    families: ClassVar[Families] = {
        "cifar": ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1)),
        "tiny-imagenet": ((0.5, 0.6), (1.0, 0.1), (1.5, 0.1), (2.5, 0.01), (3.0, 0.1)),
        "imagenet": ((3.0, 0.1), (4.0, 0.5), (6.0, 0.5), (8.0, 0.5), (10.0, 0.5)),
    }

    def corrupt(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        """Average over the disk."""
        radius, edge = self.constants(x, severity)
        return kernels.convolve(x.mul(255).round_(), _disk(radius, edge)).div_(255)


def _disk(radius: float, edge: float) -> Tensor:
    """The weights [k, k] of a disk with a smooth edge, no larger than they need to be."""
    half = max(8, int(radius))
    squares = torch.arange(-half, half + 1) ** 2
    # In float32, as in the originals: whether an even surface keeps its level hangs on the sum of the weights.
    disk = (squares[:, None] + squares <= radius**2).to(torch.float32)
    disk /= disk.sum()
    reach = 1 if half == 8 else 2
    # Gauss's curve on 3 or 5 pixels, the square mirrored about its outermost pixels.
    smooth = torch.exp(-0.5 * (torch.arange(-reach, reach + 1).to(torch.float64) / edge) ** 2)
    smooth = (smooth / smooth.sum()).to(torch.float32)
    for _ in ("height", "width"):
        bordered = torch.cat([disk[1 : reach + 1].flip(0), disk, disk[-reach - 1 : -1].flip(0)])
        disk = bordered.unfold(0, 2 * reach + 1, 1).mul(smooth).sum(dim=-1).T
    extent = min(half, int(radius) + reach)
    return disk[half - extent : half + extent + 1, half - extent : half + extent + 1]
