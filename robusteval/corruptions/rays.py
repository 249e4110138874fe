"""The light of stars with uneven rays, as CIFAR-10-C-bar draws it (Mintun et al. 2021, arXiv:2102.11273)."""

import math

import torch
from torch import Tensor

from robusteval.core.rng import Stream

FEWEST, MOST = 50, 200
"""The number of rays of a star, the latter excluded."""


def ray_lengths(radius: float, ids: Tensor, rng: Stream) -> tuple[Tensor, Tensor]:
    """The number of rays [n] and their lengths in pixels [n, 199]: about the radius, with a quarter of it as spread."""
    number = rng.stream("number").integers(ids, (), FEWEST, MOST)
    return number, radius + 0.25 * radius * rng.stream("lengths").normal(ids, (MOST - 1,)).to(torch.float64)


def light(centre: Tensor, number: Tensor, lengths: Tensor, exponent: float, size: tuple[int, int]) -> Tensor:
    """The light at every pixel, [n, h, w] float64 in [0, 1].

    At the distance d and between two rays, at the share f of the way from one to the other, it is
    (1 - (f - 1/2)^2) * (l^2 / (d^2 + 0.0001))^exponent, where l is the length of a ray there, cut at 1.

    Args:
        centre: row and column [n, 2] float64.
        number: [n] rays.
        lengths: [n, at least number] in pixels.
        exponent: how fast the light falls.
        size: height and width.
    """
    down = torch.arange(size[0], dtype=torch.float64, device=centre.device)[:, None] - centre[:, 0, None, None]
    right = torch.arange(size[1], dtype=torch.float64, device=centre.device) - centre[:, 1, None, None]
    angle = torch.atan2(right, down)
    turn = (angle + math.pi) / math.tau * number[:, None, None]
    first = turn.floor()
    share = turn - first
    ray = first.to(torch.int64) % number[:, None, None]
    following = (ray + 1) % number[:, None, None]
    one, other = (lengths.gather(1, each.flatten(1)).view_as(share) for each in (ray, following))
    length = one + share * (other - one)
    fall = (length.square() / (down.square() + right.square() + 1e-4)) ** exponent
    return ((1 - (share - 0.5).square()) * fall).clamp_(0, 1)
