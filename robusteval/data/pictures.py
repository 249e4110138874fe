"""Encoded pictures (JPEG, PNG, ...) to one uint8 tensor, decoded in threads a few hundred at a time."""

import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from tqdm import tqdm

from robusteval.core.errors import DataError, require
from robusteval.data.places import reading

_AT_ONCE = 256
_GREY = ("1", "L", "LA")
_DEEP = ("I", "F")


def decoded(pictures: Iterable[tuple[str, bytes]], count: int, size: int | None = None) -> Tensor:
    """Decode `count` named pictures, [count, 1 or 3, h, w] uint8; one channel only where all of them are grey.

    Args:
        pictures: name and encoded bytes, read as they are needed.
        count: how many there are.
        size: resize the shorter side to this many pixels (bicubic, antialiased) and crop the centre.

    Raises:
        DataError: a picture cannot be decoded, or has another size than the first; the error names it.
    """
    require(size is None or size >= 1, "size", "must be at least 1", size)
    images: NDArray[np.uint8] = np.empty((0, 1, 0, 0), np.uint8)
    first, queue = "", iter(pictures)
    bar = tqdm(total=count, desc="decode", unit="image", disable=None, delay=2, leave=False)
    with ThreadPoolExecutor() as pool, bar:
        for start in range(0, count, _AT_ONCE):
            some = list(islice(queue, min(_AT_ONCE, count - start)))
            for row, pixels in enumerate(pool.map(partial(_pixels, size=size), some), start):
                if row == 0:
                    first, images = some[0][0], np.empty((count, *pixels.shape), np.uint8)
                if pixels.shape[1:] != images.shape[2:]:
                    raise _uneven(some[row - start][0], pixels, first, images)
                if len(pixels) > images.shape[1]:
                    images = np.repeat(images, 3, axis=1)  # grey so far, colour from here on
                images[row] = pixels
            bar.update(len(some))
    return torch.from_numpy(images)


def _pixels(picture: tuple[str, bytes], size: int | None) -> NDArray[Any]:
    name, data = picture
    with reading(name, Image.DecompressionBombError), _opened(data) as opened:
        mode = _mode(name, opened)
        # A palette with an alpha channel has to lose it in a step of its own, or Pillow warns.
        whole = opened.convert("RGBA") if opened.mode == "P" else opened
        image = whole.convert(mode)
    pixels = np.asarray(image if size is None else _fitted(image, size))
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _opened(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        raise ValueError("it is not a picture of a kind that Pillow knows") from None


def _mode(name: str, image: Image.Image) -> str:
    if image.mode.startswith(_DEEP):
        raise DataError(f"{name} has pixels of mode {image.mode}: only 8-bit pictures can be read without loss")
    return "L" if image.mode in _GREY else "RGB"


def _fitted(image: Image.Image, size: int) -> Image.Image:
    """Resize the shorter side and crop the centre, rounding as torchvision does."""
    shorter = min(image.size)
    if shorter != size:
        width, height = (size * side // shorter for side in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (round((side - size) / 2) for side in image.size)
    return image.crop((left, top, left + size, top + size))


def _uneven(name: str, pixels: NDArray[Any], first: str, images: NDArray[np.uint8]) -> DataError:
    (height, width), (other_height, other_width) = pixels.shape[1:], images.shape[2:]
    return DataError(
        f"{name} is {width}x{height} pixels but {first} is {other_width}x{other_height}: "
        "all must have one size; size=N resizes and crops them"
    )
