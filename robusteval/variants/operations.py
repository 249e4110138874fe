"""AugMix's nine operations on whole batches, each image at its own level (Hendrycks et al. 2020, arXiv:1912.02781).

They do what the official code's calls of PIL do to 8-bit images; the constants are those of google-research/augmix.
Images are [n, c, h, w] float32 whole numbers in [0, 255]; levels [n] float64 in [0, 10]; signs [n], 1 or -1, turn a
movement round.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

Operation = Callable[[Tensor, Tensor, Tensor], Tensor]

_STRONGEST = 10
_DEGREES, _SHEAR = 30, 0.3
_BITS, _SHADES = 4, 256
_ROUNDING = 0.01  # of a shade: or a pixel that stays where it is might lose one


def autocontrast(images: Tensor, level: Tensor, sign: Tensor) -> Tensor:
    """Stretch each channel from its darkest to its lightest shade over all shades; there is no level."""
    pixels = images.flatten(2).to(torch.float64)
    low, high = pixels.amin(dim=2, keepdim=True), pixels.amax(dim=2, keepdim=True)
    scale = high.new_tensor(_SHADES - 1) / (high - low).clamp_min(1)  # a number over a tensor rounds twice
    stretched = (_shades(images) * scale - low * scale).floor().clamp(0, _SHADES - 1)
    return _toned(images, torch.where(high > low, stretched, _shades(images)))


def equalize(images: Tensor, level: Tensor, sign: Tensor) -> Tensor:
    """Flatten the histogram of each channel; there is no level."""
    pixels = images.flatten(0, 1).flatten(1).long()
    row = torch.arange(len(pixels), device=images.device)[:, None] * _SHADES
    counts = torch.bincount((pixels + row).flatten(), minlength=len(pixels) * _SHADES).reshape(-1, _SHADES)
    lightest = counts.gather(1, pixels.amax(dim=1, keepdim=True))
    step = (pixels.shape[1] - lightest) // (_SHADES - 1)
    darker = counts.cumsum(dim=1) - counts
    flat = ((step // 2 + darker) // step.clamp_min(1)).clamp_max(_SHADES - 1)
    tables = torch.where(step > 0, flat, _shades(images).long())
    return _toned(images, tables.reshape(*images.shape[:2], _SHADES))


def posterize(images: Tensor, level: Tensor, sign: Tensor) -> Tensor:
    """Keep the upper bits of each shade, 4 and fewer."""
    unit = 2 ** (8 - _BITS + _whole(level, _BITS))[:, None, None]
    return _toned(images, (_shades(images) / unit).floor() * unit)


def solarize(images: Tensor, level: Tensor, sign: Tensor) -> Tensor:
    """Invert the shades from a threshold on."""
    threshold = (_SHADES - _whole(level, _SHADES))[:, None, None]
    shades = _shades(images)
    return _toned(images, torch.where(shades < threshold, shades, _SHADES - 1 - shades))


def rotate(images: Tensor, level: Tensor, sign: Tensor) -> Tensor:
    """Turn by whole degrees, 30 at most."""
    angle = -sign * _whole(level, _DEGREES) * (math.pi / 180)
    cos, sin = angle.cos(), angle.sin()
    height, width = images.shape[2:]
    right = (width - cos * width - sin * height) / 2
    down = (height + sin * width - cos * height) / 2
    return _moved(images, (cos, sin, right), (-sin, cos, down))


def shear_x(images: Tensor, level: Tensor, sign: Tensor) -> Tensor:
    """Slant to the side, by 0.3 of the height at most."""
    slant, one, none = sign * level * _SHEAR / _STRONGEST, torch.ones_like(level), torch.zeros_like(level)
    return _moved(images, (one, slant, none), (none, one, none))


def shear_y(images: Tensor, level: Tensor, sign: Tensor) -> Tensor:
    """Slant up or down, by 0.3 of the width at most."""
    slant, one, none = sign * level * _SHEAR / _STRONGEST, torch.ones_like(level), torch.zeros_like(level)
    return _moved(images, (one, none, none), (slant, one, none))


def translate_x(images: Tensor, level: Tensor, sign: Tensor) -> Tensor:
    """Shift to the side by whole pixels, a third of the width at most."""
    shift, one, none = _whole(level, images.shape[3] / 3) * sign, torch.ones_like(level), torch.zeros_like(level)
    return _moved(images, (one, none, shift), (none, one, none))


def translate_y(images: Tensor, level: Tensor, sign: Tensor) -> Tensor:
    """Shift up or down by whole pixels, a third of the height at most."""
    shift, one, none = _whole(level, images.shape[2] / 3) * sign, torch.ones_like(level), torch.zeros_like(level)
    return _moved(images, (one, none, none), (none, one, shift))


OPERATIONS: tuple[Operation, ...] = (
    autocontrast,
    equalize,
    posterize,
    rotate,
    solarize,
    shear_x,
    shear_y,
    translate_x,
    translate_y,
)


def operated(images: Tensor, chosen: Tensor, level: Tensor, sign: Tensor) -> Tensor:
    """Each image under its own operation, by its number `chosen` [n]; images of any other number stay."""
    result = images.clone()
    for number, operation in enumerate(OPERATIONS):
        rows = (chosen == number).nonzero()[:, 0]
        if len(rows) > 0:
            result.index_copy_(0, rows, operation(images.index_select(0, rows), level[rows], sign[rows]))
    return result


def _whole(level: Tensor, largest: float) -> Tensor:
    """The share of `largest` that a level stands for, without its fraction."""
    return (level * largest / _STRONGEST).floor()


def _shades(images: Tensor) -> Tensor:
    return torch.arange(_SHADES, dtype=torch.float64, device=images.device)


def _toned(images: Tensor, tables: Tensor) -> Tensor:
    """Every shade replaced by its entry in the table of its image and channel, [n, 1 or c, 256]."""
    tables = tables.to(images.dtype).expand(-1, images.shape[1], -1)
    return tables.gather(2, images.flatten(2).long()).reshape(images.shape)


def _moved(images: Tensor, across: tuple[Tensor, ...], down: tuple[Tensor, ...]) -> Tensor:
    """Each pixel (x, y) fetched from where two rows of an affine map send its centre; black where that is outside.

    Between pixels it is bilinear, and beyond the outermost centres constant; fractions of a shade are cut off.
    """
    height, width = images.shape[2:]
    x = torch.arange(width, device=images.device) + 0.5
    y = torch.arange(height, device=images.device)[:, None] + 0.5
    sources = [
        (a[:, None, None] * x + b[:, None, None] * y + c[:, None, None]).to(images.dtype) for a, b, c in (across, down)
    ]
    grid = torch.stack([2 * source / size - 1 for source, size in zip(sources, (width, height), strict=True)], dim=3)
    values = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    inside = (sources[0] >= 0) & (sources[0] < width) & (sources[1] >= 0) & (sources[1] < height)
    return (values + _ROUNDING).floor() * inside[:, None]
