"""Pinch and twirl, of CIFAR-10-C-bar (Mintun et al. 2021, arXiv:2102.11273).

Constants: cifar10_c_bar.csv and corrupt.py of github.com/facebookresearch/augmentation-corruption.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.corruptions.bilinear import bordered, taps
from robusteval.corruptions.corruption import Category, Corruption, Families

DISCS = 3
"""Discs along each axis; the original has 5 in images of 224 pixels, which are ImageNet's."""


@dataclass(frozen=True)
class PinchAndTwirl(Corruption):
    """Nine discs, three by three, each pinched and turned to one side or the other.

    At the share d of the radius a pixel comes from sin(pi d / 2)^-a times as far out, with a = 0.04 * constant + 0.1,
    turned by pi / 20 * constant * (1 - d)^2. What the discs leave over is kept: corners, the last rows and columns.
    """

    name: ClassVar[str] = "pinch-and-twirl"
    category: ClassVar[Category] = "cifar10-c-bar"
    families: ClassVar[Families] = {"cifar10-c-bar": (5.5, 6.0, 6.5, 8.5, 10.0)}

    def corrupt(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        """Take each pixel of a disc from elsewhere in it."""
        (level,) = self.constants(x, severity)
        height, width = x.shape[-2:]
        size = max(min(height, width) // DISCS, 1)
        (line, middle_row, down), (place, middle_column, right) = (_axis(side, size, x) for side in (height, width))
        down, right = down[:, None].expand(height, width), right.expand(height, width)
        distance = (down.square() + right.square()).sqrt() / (size / 2)
        # At the share 1 nothing moves, nor does it at the centre or outside.
        distance = distance.masked_fill((distance == 0) | (distance > 1), 1)
        sign = 2 * rng.integers(ids, (DISCS, DISCS), 0, 2)[:, line][:, :, place] - 1
        angle = sign * (level * (math.pi / 2) / 10 * (1 - distance).square())
        stretch = (math.pi * 0.5 * distance).sin() ** -(level * 0.4 / 10 + 0.1)
        down, right, cos, sin = down * stretch, right * stretch, angle.cos(), angle.sin()
        row = middle_row[:, None] + (down * cos - right * sin)
        return _read(x, row, middle_column + (down * sin + right * cos)).floor() / 255


def _axis(side: int, size: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For each pixel on an axis the number of its disc, the middle of that, and the way from there."""
    point = torch.arange(side, device=like.device)
    disc = (point // size).clamp(max=DISCS - 1)
    middle = (disc * size).to(like.dtype) + size / 2
    return disc, middle, point - middle


def _read(x: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """The levels of images [n, 3, h, w] between pixels; in float32, as in the original."""
    height, width = x.shape[-2:]
    image = bordered((x * 255).round_().to(torch.float32)).flatten(2)
    rows, columns = taps(row, height), taps(column, width)
    lines = []
    for line, _ in rows:
        sources = [(line * (width + 2) + place).flatten(1)[:, None].expand(-1, 3, -1) for place, _ in columns]
        parts = [
            image.gather(2, source).view_as(x) * weight.to(torch.float32)[:, None]
            for source, (_, weight) in zip(sources, columns, strict=True)
        ]
        lines.append(parts[0] + parts[1])
    upper, lower = (weight.to(torch.float32)[:, None] for _, weight in rows)
    return (lines[0] * upper + lines[1] * lower).to(x.dtype)
