"""The loss of JPEG compression, byte by byte that of libjpeg-turbo behind Pillow, batched and on any device.

What the Independent JPEG Group's library does by default (ITU-T T.81; its files jccolor, jcsample, jfdctint, jcdctmgr,
jidctint, jdsample and jdcolor; compared with libjpeg-turbo 3.2): colours as luma and chroma in 16-bit fixed point,
chroma halved both ways, the "islow" transform of 13-bit constants (Loeffler, Ligtenberg and Moschytz 1989), the tables
of T.81's Annex K scaled by the quality, and "fancy" upsampling. Entropy coding loses nothing and is left out. Numbers
are whole and stored as floats wide enough for every sum, so the order in which a library adds does not matter.
"""

from functools import lru_cache

import torch
from torch import Tensor

_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56), (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip
_CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99), (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99), (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)  # fmt: skip
_TO_YCC = ((0.299, 0.587, 0.114), (-0.16874, -0.33126, 0.5), (0.5, -0.41869, -0.08131))
_TO_RGB = ((0.0, 1.402), (-0.34414, -0.71414), (1.772, 0.0))


def stored(levels: Tensor, quality: int) -> Tensor:
    """Levels [n, 3, h, w], whole numbers in float32, as they are once stored at a quality from 1 to 100 and read."""
    height, width = levels.shape[-2:]
    colours = _to_ycc(levels)
    luma = _coded(_extended(colours[:, :1], 8, 8), _table(_LUMA, quality))
    # The width is filled up before the chroma is halved, the height, but for one line, after it.
    chroma = _halved(_extended(colours[:, 1:], 2, 16))
    chroma = _coded(_extended(chroma, 8, 8), _table(_CHROMA, quality))
    chroma = _doubled(chroma[..., : (height + 1) // 2, : (width + 1) // 2])
    return _to_rgb(luma[..., :height, :width], chroma[..., :height, :width])


def _to_ycc(levels: Tensor) -> Tensor:
    """Luma and, around 128, two of chroma."""
    colours = torch.empty_like(levels)
    for colour, weights, middle in zip(colours.unbind(1), _TO_YCC, (0, 128, 128), strict=True):
        # Half a unit is added for luma, just less than half for chroma.
        colour.fill_((middle << 16) + 2**15 - (middle > 0))
        _add_products(colour, levels, weights)
    return colours.mul_(2.0**-16).floor_()


def _to_rgb(luma: Tensor, chroma: Tensor) -> Tensor:
    """The colours of luma [n, 1, h, w] and chroma [n, 2, h, w] minus 128, cut to 0..255."""
    colours = torch.full((len(luma), 3, *luma.shape[-2:]), 2.0**15, dtype=luma.dtype, device=luma.device)
    for colour, weights in zip(colours.unbind(1), _TO_RGB, strict=True):
        _add_products(colour, chroma, weights)
    return colours.mul_(2.0**-16).floor_().add_(luma).clamp_(0, 255)


def _add_products(total: Tensor, channels: Tensor, weights: tuple[float, ...]) -> None:
    """Add channels times weights in units of 2^-16 to a total; of levels that takes the 24 bits that float32 has."""
    for channel, weight in zip(channels.unbind(1), weights, strict=True):
        if weight:
            total.add_(channel, alpha=round(weight * 2**16))


def _halved(chroma: Tensor) -> Tensor:
    """The means of 2 x 2 pixels; of two even rests one is rounded down and the next one up."""
    lines = chroma[:, :, ::2] + chroma[:, :, 1::2]
    sums = lines[..., ::2] + lines[..., 1::2]
    rest = torch.tensor([1.0, 2.0], device=chroma.device).repeat(sums.shape[-1] // 2)
    return sums.add_(rest).mul_(0.25).floor_()


def _doubled(chroma: Tensor) -> Tensor:
    """Chroma [n, 2, h, w] twice as high and wide, minus 128: three quarters of a pixel, a quarter of the next one."""
    if chroma.shape[-1] <= 2:
        # libjpeg repeats the pixels of images that are this narrow.
        return chroma.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3) - 128
    n, channels, height, width = chroma.shape
    wide = chroma @ _widened(width).to(chroma.device)
    near = wide * 3
    above = torch.cat([wide[:, :, :1], wide[:, :, :-1]], dim=2).add_(near)
    below = torch.cat([wide[:, :, 1:], wide[:, :, -1:]], dim=2).add_(near)
    # Of sixteen parts a half, or just less, is added, and 128 taken off.
    rest = torch.tensor([8.0 - 2048, 7.0 - 2048], device=chroma.device).repeat(width)
    pixels = torch.stack([above, below], dim=3).view(n, channels, 2 * height, 2 * width)
    return pixels.add_(rest).mul_(1 / 16).floor_()


@lru_cache(maxsize=16)
def _widened(width: int) -> Tensor:
    """Three times each pixel and once the one beside it, [width, 2 * width]."""
    places = torch.arange(2 * width)
    beside = (places // 2 + places % 2 * 2 - 1).clamp(0, width - 1)
    weights = torch.zeros(width, 2 * width)
    weights[places // 2, places] = 3
    weights[beside, places] += 1
    return weights


def _extended(x: Tensor, down: int, right: int) -> Tensor:
    """Images [n, c, h, w] with their last line and column repeated up to multiples of down and right."""
    for dim, unit in ((2, down), (3, right)):
        size = x.shape[dim]
        if size % unit:
            places = torch.arange(-(-size // unit) * unit, device=x.device).clamp_(max=size - 1)
            x = x.index_select(dim, places)
    return x


def _coded(x: Tensor, table: Tensor) -> Tensor:
    """Levels [n, c, h, w] of whole blocks of 8 x 8 pixels, transformed, quantised and back; clipped to 0..255."""
    n, channels, height, width = x.shape
    split = x.reshape(n, channels, height // 8, 8, width // 8, 8).permute(5, 3, 0, 1, 2, 4)
    blocks = torch.empty(split.shape, dtype=torch.float64, device=x.device).copy_(split).view(8, 8, -1).sub_(128)
    forward, back = _transform().to(x.device), _transform().T.to(x.device)
    # Forward along the rows and columns, back along the columns and rows; 11, 15, 11 and 18 bits are rounded off.
    found = _along(forward, _along(forward, blocks, 11).transpose(0, 1), 15)
    found = _along(back, _quantised(found, table.to(x.device)[..., None]), 11)
    pixels = _along(back, found.transpose(0, 1), 18).add_(128).clamp_(0, 255).to(x.dtype)
    return pixels.view(8, 8, n, channels, height // 8, width // 8).permute(2, 3, 4, 1, 5, 0).reshape(x.shape)


def _along(transform: Tensor, blocks: Tensor, bits: int) -> Tensor:
    """Transform the first dimension of blocks [8, 8, k] and round some bits off, halves upwards."""
    return (transform @ blocks.reshape(8, -1)).mul_(2.0**-bits).add_(0.5).floor_().view(blocks.shape)


def _quantised(x: Tensor, table: Tensor) -> Tensor:
    """Multiples of the table nearest to x / 8, halves away from 0."""
    return x.abs().div_(8 * table).add_(0.5).floor_().mul_(table).copysign_(x)


@lru_cache(maxsize=16)
def _table(base: tuple[tuple[int, ...], ...], quality: int) -> Tensor:
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return torch.tensor(base).mul(scale).add(50).div(100, rounding_mode="floor").clamp(1, 255).to(torch.float64)


@lru_cache(maxsize=1)
def _transform() -> Tensor:
    """The cosine transform [frequency, place] in units of 2^-13; its transpose is the inverse one."""
    a, b, c, d, e, f, g, h, i = (
        round(constant * 2**13)
        for constant in (
            0.298631336, 2.053119869, 3.072711026, 1.501321110, 0.899976223, 2.562915447, 1.961570560, 0.390180644,
            1.175875602,
        )
    )  # fmt: skip
    one, slow, slower = 2**13, round(0.541196100 * 2**13), round(0.765366865 * 2**13)
    fast = round(1.847759065 * 2**13)
    even = ((one, one, one, one), (slow + slower, slow, -slow, -slow - slower),
            (one, -one, -one, one), (slow, slow - fast, fast - slow, -slow))  # fmt: skip
    odd = ((d - e - h + i, i, i - h, i - e), (i, c - f - g + i, i - f, i - g),
           (i - h, i - f, b - f - h + i, i), (i - e, i - g, i, a - e - g + i))  # fmt: skip
    whole = torch.zeros(8, 8, dtype=torch.float64)
    whole[::2, :4], whole[1::2, :4] = (torch.tensor(half, dtype=torch.float64) for half in (even, odd))
    whole[:, 4:] = whole[:, :4].flip(1)
    whole[1::2, 4:] *= -1
    return whole
