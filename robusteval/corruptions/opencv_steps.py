"""Filters of OpenCV (compared with 5.0) on images of bytes [n, h, w] int32, batched and in integers.

Beyond its border an image is mirrored around its last pixel, as OpenCV has it, but for gradients, which repeat it.
"""

import torch
from torch import Tensor
from torch.nn import functional

UNIT = 10_000
"""Distances are counted in parts of a pixel's width, as many as this."""

_STRAIGHT, _DIAGONAL, _KNIGHT = 10_000, 14_000, 21_969
_TANGENT = 13573  # of 22.5 degrees, in units of 1/32768


def canny(image: Tensor, low: int, high: int) -> Tensor:
    """Edges as booleans (Canny 1986), from 3 x 3 Sobel gradients and the sum of their absolute values."""
    padded = bordered(image, mirrored=False)
    across, down = padded[:, :, 2:] - padded[:, :, :-2], padded[:, 2:] - padded[:, :-2]
    across = across[:, :-2] + 2 * across[:, 1:-1] + across[:, 2:]
    down = down[:, :, :-2] + 2 * down[:, :, 1:-1] + down[:, :, 2:]
    size = across.abs() + down.abs()
    edges = (size > low) & _peaks(size, across, down)
    strong = edges & (size > high)
    # Weak edges that touch strong ones become strong, until none is left.
    while not torch.equal(grown := edges & _spread(strong), strong):
        strong = grown
    return strong


def _peaks(size: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """Where a gradient is larger than its two neighbours along the nearest of four directions."""
    around = functional.pad(size, (1, 1, 1, 1))
    tangent, steep = across.abs() * _TANGENT, down.abs() << 15
    flat, upright = steep < tangent, steep > tangent + (across.abs() << 16)
    falling = (across ^ down) < 0
    rows = (size > around[:, 1:-1, :-2]) & (size >= around[:, 1:-1, 2:])
    columns = (size > around[:, :-2, 1:-1]) & (size >= around[:, 2:, 1:-1])
    diagonals = (size > around[:, :-2, :-2]) & (size > around[:, 2:, 2:]) & ~falling
    diagonals |= (size > around[:, :-2, 2:]) & (size > around[:, 2:, :-2]) & falling
    return (rows & flat) | (columns & upright) | (diagonals & ~flat & ~upright)


def _spread(mask: Tensor) -> Tensor:
    """The pixels of a mask and the eight neighbours of each."""
    padded = functional.pad(mask, (1, 1, 1, 1))
    rows = padded[:, :-2] | padded[:, 1:-1] | padded[:, 2:]
    return rows[:, :, :-2] | rows[:, :, 1:-1] | rows[:, :, 2:]


def distance(mask: Tensor, largest: int) -> Tensor:
    """The distance from the pixels of a mask, `largest` at most, in parts of a pixel: see UNIT.

    It is the length of the shortest path of a king's and a knight's moves (Borgefors 1986, the 5 x 5 chamfer), exact
    where OpenCV adds it up in float32.
    """
    n, height, width = mask.shape
    found = torch.full((height + 2, n, width + 4), largest * UNIT, dtype=torch.int32, device=mask.device)
    found[2:, :, 2:-2].masked_fill_(mask.transpose(0, 1), 0)
    ramp = torch.arange(width, dtype=torch.int32, device=mask.device) * _STRAIGHT
    shifted = [found[:, :, first : first + width].unbind() for first in range(5)]
    # Once down the rows and once, with the image turned around, up.
    for _ in range(2):
        for row in range(2, height + 2):
            _pass_on(shifted, row, ramp)
        found[2:] = found[2:].flip(0, 2)
    return found[2:, :, 2:-2].transpose(0, 1)


def _pass_on(shifted: list[tuple[Tensor, ...]], row: int, ramp: Tensor) -> None:
    """Shorten the distances of a row by moves from the two above and from the left; rows are [n, w], by shift."""
    _, left, straight, right, _ = (rows[row - 1] for rows in shifted)
    knight = torch.minimum(shifted[0][row - 1], shifted[4][row - 1])
    knight = torch.minimum(knight, torch.minimum(shifted[1][row - 2], shifted[3][row - 2])).add_(_KNIGHT)
    moved = torch.minimum(knight, torch.minimum(left, right).add_(_DIAGONAL)).minimum(straight + _STRAIGHT)
    here = shifted[2][row]
    here.copy_(torch.minimum(here, moved).sub_(ramp).cummin(dim=1).values.add_(ramp))


def equalised(image: Tensor, values: int) -> Tensor:
    """Levels below `values` spread over 0..255 so that every one is as frequent; a single level stays as it is."""
    n, pixels = len(image), image[0].numel()
    rows = torch.arange(n, device=image.device) * values
    counts = torch.bincount((image.flatten(1) + rows[:, None]).flatten(), minlength=n * values).view(n, values)
    upto = counts.cumsum(dim=1)
    lowest = upto.masked_fill(upto == 0, pixels).amin(dim=1, keepdim=True)
    scale = 255 / (pixels - lowest).to(torch.float32)
    spread = ((upto - lowest).clamp(min=0) * scale).round().to(torch.int32)
    spread = torch.where(lowest == pixels, torch.arange(values, dtype=torch.int32, device=image.device), spread)
    return spread.flatten().index_select(0, (image.flatten(1) + rows[:, None]).flatten()).view_as(image)


def box_sum(image: Tensor) -> Tensor:
    """The sums over 3 x 3 pixels."""
    padded = bordered(image)
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    return rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]


def correlated(image: Tensor, kernel: tuple[tuple[int, int, int], ...]) -> Tensor:
    """The sums over 3 x 3 pixels of their products with a kernel's weights."""
    padded = bordered(image)
    height, width = padded.shape[1:]
    # All lines of all images in one, whose last pixels, that reach into the next line, are left out in the end.
    line = padded.flatten()
    pieces = line.unfold(0, line.numel() - 2 * width - 2, 1)
    total = torch.zeros_like(pieces[0])
    for down, weights in enumerate(kernel):
        for right, weight in enumerate(weights):
            if weight:
                total.add_(pieces[down * width + right], alpha=weight)
    return total.as_strided(image.shape, (height * width, width, 1))


def bordered(image: Tensor, mirrored: bool = True) -> Tensor:
    """An image with one more pixel on every side."""
    for dim in (1, 2):
        size, step = image.shape[dim], int(mirrored and image.shape[dim] > 1)
        places = torch.tensor([step, *range(size), size - 1 - step], device=image.device)
        image = image.index_select(dim, places)
    return image
