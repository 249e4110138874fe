"""Tables of small pictures: images in rows and columns, each with a caption."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from robusteval.core.errors import require

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = ("row", "column", "image", "caption")
"""Of a frame of pictures: the names of its place, a PNG file as bytes, and what stands beneath, which may be empty."""

_WIDTH, _CAPTION, _GAP = 0.85, 0.17, 0.06
_LETTER, _HEAD = 0.085, 0.55
_SMALL = 7


def frame(pictures: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Pictures as a frame, one row each."""
    return pd.DataFrame(pictures, columns=list(COLUMNS))


def png(image: NDArray[Any]) -> bytes:
    """An image [c, h, w] in [0, 1] as a PNG file of 8-bit levels; equal images give equal bytes.

    Two views of a sample stand side by side, and a vector is a row of grey pixels.
    """
    pixels = np.rint(np.clip(_shown(image), 0, 1) * 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)).save(file, format="png")
    return file.getvalue()


def pixels(file: bytes) -> NDArray[np.uint8]:
    """A PNG file as [h, w, 3]."""
    with Image.open(io.BytesIO(file)) as image:
        return np.asarray(image.convert("RGB"))


def heads(pictures: pd.DataFrame) -> list[str]:
    """The columns of a table of pictures in the order of their numbers, as in severities; else as they come."""
    found = dict.fromkeys(pictures["column"].astype(str))
    numbers = {column: int(column.rpartition(" ")[2]) for column in found if column.rpartition(" ")[2].isdecimal()}
    return sorted(found, key=lambda column: numbers.get(column, -1))


def sheet(pictures: pd.DataFrame, title: str) -> "Figure":
    """A frame of pictures as a figure: the rows and columns in their order, each named once.

    Raises:
        InputError: there is no picture.
    """
    from matplotlib.figure import Figure

    require(len(pictures) > 0, "pictures", "must be at least one", 0)
    rows, columns = list(dict.fromkeys(pictures["row"].astype(str))), heads(pictures)
    first = pixels(pictures["image"].iloc[0])
    tall = _WIDTH * min(2.0, max(0.5, first.shape[0] / first.shape[1]))
    lines = int(pictures["caption"].str.count("\n").max()) + 1 if pictures["caption"].ne("").any() else 0
    cell = (_WIDTH + _GAP, tall + lines * _CAPTION + _GAP)
    names = 0.15 + _LETTER * max(map(len, rows))
    inside = names + len(columns) * cell[0] + 0.1
    width = max(inside, _LETTER * max(map(len, title.split("\n"))))
    head = _HEAD + _CAPTION * title.count("\n")
    left, height = names + (width - inside) / 2, len(rows) * cell[1] + head + 0.1
    figure = Figure(figsize=(width, height))
    figure.suptitle(title, x=0.5, y=1 - 0.12 / height, va="top", fontsize=9)
    for picture in pictures.to_dict("records"):
        row, column = rows.index(str(picture["row"])), columns.index(str(picture["column"]))
        corner = left + column * cell[0], height - head - row * cell[1] - tall
        panel = figure.add_axes((corner[0] / width, corner[1] / height, _WIDTH / width, tall / height))
        panel.imshow(pixels(picture["image"]), interpolation="nearest")
        panel.set(xticks=[], yticks=[])
        panel.set_xlabel(str(picture["caption"]), fontsize=_SMALL - 1, labelpad=2)
        if row == 0:
            panel.set_title(str(picture["column"]), fontsize=_SMALL, pad=3)
    for row, text in enumerate(rows):
        middle = height - head - row * cell[1] - tall / 2
        figure.text((left - 0.08) / width, middle / height, text, ha="right", va="center", fontsize=_SMALL)
    return figure


def _shown(image: NDArray[Any]) -> NDArray[np.float64]:
    """An image as [1 or 3, h, w]."""
    channels, height, width = image.shape
    if channels in (1, 3):
        return image.astype(np.float64)
    if channels in (2, 6) and (height, width) != (1, 1):
        return np.concatenate(np.split(image.astype(np.float64), 2), axis=2)
    return image.astype(np.float64).reshape(1, height * width, channels)
