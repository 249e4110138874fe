"""The gallery of one image under corruptions: a row for each corruption, a column for each severity."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from robusteval.core.errors import SpecError, nearest, require
from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS, Corruption
from robusteval.reporting import pictures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Chosen = Sequence[tuple[Corruption, Sequence[int]]]
"""Corruptions, each with its severities."""

_APART = ("mnist-c", "cifar10-c-bar")
_ORDER = ("noise", "blur", "weather", "digital", "extra", *_APART)


def gallery(image: Tensor | NDArray[Any], family: str | None = None, seed: int = 0, sample: int = 0) -> "Figure":
    """Draw one image under all corruptions and severities.

    Args:
        image: [1 or 3, h, w], a tensor or an array: uint8, or floats in [0, 1], which are rounded to 8-bit levels.
        family: whose constants to use: `"cifar"`, `"tiny-imagenet"`, `"imagenet"`, which have the 15 test corruptions
            and the 4 extra ones, `"mnist-c"` or `"cifar10-c-bar"`; by default those meant for the size of the image.
        seed: of every random number.
        sample: the id of the image, which random numbers go by.

    Raises:
        RobustevalError: the family is unknown, or the image breaks a rule.
    """
    chosen = [(each, range(1, each.severities + 1)) for each in standard(family)]
    shown = changed(image, chosen, seed, sample)
    for remark in dict.fromkeys(each.misfit(max(image.shape[1:])) for each, _ in chosen):
        if remark is not None:
            warnings.warn(remark, RuntimeWarning, stacklevel=2)
    return draw(shown, family)


def draw(shown: pd.DataFrame, family: str | None = None) -> "Figure":
    """The pictures of `changed` as a figure."""
    return pictures.sheet(shown, "One image under corruptions" + ("" if family is None else f", family {family}"))


def changed(image: Tensor | NDArray[Any], chosen: Chosen, seed: int = 0, sample: int = 0) -> pd.DataFrame:
    """The pictures of a gallery by category of the corruption, each row beginning with the image itself.

    Args:
        image: [1 or 3, h, w], as for `gallery`.
        chosen: corruptions with their severities, at least one.
        seed: of every random number.
        sample: the id of the image.

    Returns:
        A frame as in `robusteval.reporting.pictures`.

    Raises:
        InputError: the image or a severity breaks a rule, or there is no corruption.
    """
    x, ids, rng = _checked(image), torch.tensor([sample]), Stream.seeded(seed)
    require(len(chosen) > 0, "corruptions", "must be at least one", 0)
    rows = []
    for corruption, severities in sorted(chosen, key=lambda pair: _ORDER.index(pair[0].category)):
        images = {"clean": x, **{f"severity {each}": corruption(x, each, ids, rng) for each in severities}}
        for column, result in images.items():
            file = pictures.png(result[0].numpy())
            rows.append({"row": corruption.name, "column": column, "image": file, "caption": ""})
    return pictures.frame(rows)


def standard(family: str | None = None) -> list[Corruption]:
    """The 15 test corruptions and the 4 extra ones, or all those of a family.

    Raises:
        SpecError: no corruption has the family.
    """
    classes = CORRUPTIONS.classes
    if family is None:
        return [CORRUPTIONS.parse(name) for name, cls in classes.items() if cls.category not in _APART]
    found = [name for name, cls in classes.items() if family in cls.families]
    if not found:
        known = {each for cls in classes.values() for each in cls.families}
        raise SpecError(f"family={family!r}: no corruption has it; {nearest(family, known)}")
    return [replace(CORRUPTIONS.parse(name), family=family) for name in found]


def _checked(image: Tensor | NDArray[Any]) -> Tensor:
    """The image as [1, c, h, w] float32 in [0, 1]."""
    known = isinstance(image, Tensor | np.ndarray)
    require(known, "image", "must be a tensor or an array", type(image).__name__)
    x = image.detach().cpu() if isinstance(image, Tensor) else torch.tensor(image)
    require(x.ndim == 3, "image", "must have shape [1 or 3, height, width]", tuple(x.shape))
    if x.dtype == torch.uint8:
        return x[None].to(torch.float32).div(255)
    require(x.is_floating_point(), "image", "must be uint8 or floats in [0, 1]", str(x.dtype))
    low, high = (float(x.min()), float(x.max())) if x.numel() else (0.0, 0.0)
    rule = "must be finite and in [0, 1]; divide by 255, or pass uint8"
    require(low >= 0 and high <= 1, "image", rule, f"[{low:g}, {high:g}]")
    return x[None].to(torch.float32)
