"""Square patches of images, and the patterns that the Square attack draws (arXiv:1912.00049, section 3)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from robusteval.core.rng import Stream

TILES = 5
"""A grid has 5 by 5 bumps."""


@dataclass(frozen=True)
class Patch:
    """A square of each image.

    Attributes:
        down: rows below its upper edge [n, h, 1].
        right: columns right of its left edge [n, 1, w].
        side: its side [n, 1, 1].
    """

    down: Tensor
    right: Tensor
    side: Tensor

    @classmethod
    def drawn(cls, draws: Tensor, side: Tensor, height: int, width: int) -> "Patch":
        """Anywhere inside the image, by two numbers in [0, 1), [n, 2]."""
        top, left = (draws * (torch.tensor([height, width], device=side.device) - side[:, None] + 1)).long().unbind(1)
        down = torch.arange(height, device=side.device) - top[:, None]
        right = torch.arange(width, device=side.device) - left[:, None]
        return cls(down[:, :, None], right[:, None, :], side[:, None, None])

    @property
    def mask(self) -> Tensor:
        """Which pixels are in it [n, h, w]."""
        return (self.down >= 0) & (self.down < self.side) & (self.right >= 0) & (self.right < self.side)

    def bump(self, lying: Tensor) -> Tensor:
        """Two hills beside each other, or one above the other, the second negative: [n, h, w] of norm 1, 0 outside.

        A hill is the sum of rectangles that grow around its middle, the k-th of height 1/k^2.

        Args:
            lying: which are beside each other [n].
        """
        along = torch.where(lying[:, None, None], self.right, self.down)
        across = torch.where(lying[:, None, None], self.down, self.right)
        half, reach = self.side // 2, self.side // 2 + 1
        middle = torch.where(along < half, half // 2, half + (self.side - half) // 2)
        ring = torch.minimum(torch.maximum((along - middle).abs(), (across - half).abs()), reach)
        inner = torch.arange(int(max(along.shape[1:])) + 1, device=ring.device).to(torch.float64)
        inner[1:] = inner[1:].square().reciprocal()
        inner = inner.cumsum(0)
        hills = torch.where(self.mask, inner[reach] - inner[ring], 0).to(torch.float32)[:, None]
        first = (along < half)[:, None]
        return unit(unit(hills * first) - unit(hills * ~first))[:, 0]


def stripes(rng: Stream, ids: Tensor, shape: torch.Size) -> Tensor:
    """A sign for each column of each channel, [n, c, h, w]."""
    channels, height, width = shape
    return signs(rng.uniform(ids, (channels, 1, width))).expand(-1, -1, height, -1)


def grid(rng: Stream, ids: Tensor, shape: torch.Size) -> Tensor:
    """Bumps side by side in the middle of the image, each turned for itself, with a sign for each channel."""
    channels, height, width = shape
    side = max(min(height, width) // TILES, 1)
    down, right = (torch.arange(length, device=ids.device) - (length - TILES * side) // 2 for length in (height, width))
    tile = (down // side * TILES)[:, None] + right // side
    on_grid = ((down >= 0) & (down < TILES * side))[:, None] & (right >= 0) & (right < TILES * side)
    draws = rng.uniform(ids, (channels + 1, TILES * TILES))[:, :, tile * on_grid]
    whole = Patch.drawn(draws.new_zeros(1, 2), ids.new_full((1,), side), side, side)
    upright, lying = (whole.bump(torch.tensor([turned], device=ids.device))[0] for turned in (False, True))
    place = (down % side)[:, None], right % side
    return on_grid * torch.where(draws[:, -1:] > 0.5, lying[place], upright[place]) * signs(draws[:, :-1])


def signs(draws: Tensor) -> Tensor:
    """-1 or 1 for each number in [0, 1)."""
    return torch.where(draws < 0.5, -1.0, 1.0)


def squares(delta: Tensor) -> Tensor:
    """The squared norm of each channel, [n, c, 1, 1]."""
    return delta.square().flatten(2).sum(dim=2)[:, :, None, None]


def unit(delta: Tensor) -> Tensor:
    """Each channel with norm 1."""
    return delta / squares(delta).sqrt().clamp_min(1e-12)
