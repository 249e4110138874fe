"""Glass blur of MNIST-C (Mu and Gilmer 2019, arXiv:1906.02337; corruptions.py of google-research/mnist-c).

Its constants are in glass_blur.py.
"""

import torch
from torch import Tensor
from torch.nn import functional

from robusteval.core.rng import Stream
from robusteval.corruptions import kernels


def swapped_behind_glass(x: Tensor, sigma: float, rounds: int, ids: Tensor, rng: Stream) -> Tensor:
    """Blur x [n, c, h, w], let half of the pixels swap with a neighbour, blur again; all channels alike.

    Unlike the glass blur of ImageNet-C, pixels really swap, as grey values are no views; each place does so with
    chance one half; and both blurs run down the columns only, as scikit-image, told that there are channels, takes the
    second axis of a grey image for them. A partner is one pixel up, left, both or the pixel itself.
    """
    height, width = x.shape[-2:]
    blur = kernels.gaussian_operator(sigma, height).to(x.device)
    levels = (blur @ (x * 255).round_()).floor_().flatten(2)
    # The digits: whether to swap, and how far up and left, for each place and round.
    numbers = rng.integers(ids, (rounds, height * width), 0, 8)
    place = torch.arange(height * width, device=x.device)
    row, column = place // width, place % width
    inner = (row > 1) & (row < height) & (column > 1) & (column < width)
    for number in numbers.unbind(1):
        partners = place - (number >> 2) * ((number >> 1 & 1) * width + (number & 1)) * inner
        levels = levels.gather(2, swap_sources(partners, width)[:, None].expand_as(levels))
    return (blur @ levels.reshape(x.shape)).div_(255)


def swap_sources(partners: Tensor, width: int) -> Tensor:
    """Where each place's value comes from, [n, h * w], once all places swapped in turn, the last one first.

    A partner is the place itself or the one to its left, above it or above that. So no place is touched again after its
    own swap, which gives it what its partner holds by then: what the last one to swap with that partner brought there.

    Args:
        partners: places [n, h * w] int64, by row.
        width: of the image.
    """
    place = torch.arange(partners.shape[1], device=partners.device)
    known = functional.pad(partners, (0, width + 1), value=-1)
    brought = place.expand_as(partners)
    # Of those that swap with a place the nearest is the last, so it is looked at last.
    for step in (width + 1, width, 1):
        brought = torch.where(known[:, step : step + len(place)] == place, place + step, brought)
    while not torch.equal(further := brought.gather(1, brought), brought):
        brought = further
    brought = functional.pad(brought, (0, width + 1))
    sources = partners
    for step in (width + 1, width, 1):
        other = partners + step
        came = (other > place) & (known.gather(1, other) == partners)
        sources = torch.where(came, brought.gather(1, other), sources)
    return sources
