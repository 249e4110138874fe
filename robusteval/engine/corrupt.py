"""The Python front of the corruptions: change a batch of images."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robusteval.core.errors import require
from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS, Corruption

Images = TypeVar("Images", Tensor, NDArray[Any])

_ROWS = 1000
"""Images changed at a time, which bounds the memory beside the images and the result."""


def corrupt(
    images: Images,
    corruption: str | Corruption,
    severity: int,
    family: str | None = None,
    seed: int = 0,
    ids: Tensor | NDArray[np.int64] | Sequence[int] | None = None,
) -> Images:
    """Corrupt images as robusteval does in a view such as `fog@3`.

    Args:
        images: [n, 1 or 3, h, w], a tensor or an array: uint8, or floats in [0, 1], which are rounded to 8-bit levels.
        corruption: its name, or a spec such as `"fog(family='imagenet')"`.
        severity: from 1 to 5; 1 where the original has one.
        family: whose constants to use: `"cifar"`, `"tiny-imagenet"`, `"imagenet"`, `"mnist-c"`; by default those
            meant for the size of the images.
        seed: of every random number.
        ids: sample ids [n], which random numbers go by; the positions by default.

    Returns:
        New images of the same shape and type, on the same device.

    Raises:
        RobustevalError: the corruption is unknown, or the images, the severity, the family or the ids break a rule.
    """
    chosen = CORRUPTIONS.parse(corruption)
    if family is not None:
        chosen = replace(chosen, family=family)
    if isinstance(images, Tensor):
        return _corrupted(images.detach(), chosen, severity, seed, ids)
    require(isinstance(images, np.ndarray), "images", "must be a tensor or an array", type(images).__name__)
    require(images.dtype.kind in "uf", "images", "must be uint8 or floats in [0, 1]", str(images.dtype))
    own = torch.from_numpy(np.require(images, images.dtype.newbyteorder("="), ["C", "W"]))
    return _corrupted(own, chosen, severity, seed, ids).numpy().astype(images.dtype, copy=False)


def _corrupted(images: Tensor, chosen: Corruption, severity: int, seed: int, ids: Any) -> Tensor:
    floats = images.is_floating_point()
    require(floats or images.dtype == torch.uint8, "images", "must be uint8 or floats in [0, 1]", str(images.dtype))
    numbers = _numbers(ids, images)
    whole = isinstance(severity, int | np.integer) and not isinstance(severity, bool)
    require(whole, "severity", f"must be in 1..{chosen.severities}", severity)
    if floats and images.numel():
        low, high = float(images.min()), float(images.max())
        rule = "must be finite and in [0, 1]; divide by 255, or pass uint8"
        require(low >= 0 and high <= 1, "images", rule, f"[{low:g}, {high:g}]")
    if images.ndim == 4 and (misfit := chosen.misfit(max(images.shape[2:]))):
        warnings.warn(misfit, RuntimeWarning, stacklevel=3)
    # Without images, the rules of shape and severity are left to one that is made up.
    x, numbers = (images, numbers) if len(images) else _nothing(images)
    rng, changed = Stream.seeded(seed), []
    for part, some in zip(torch.split(x, _ROWS), torch.split(numbers, _ROWS), strict=True):
        result = chosen(part if floats else part.to(torch.float32).div(255), int(severity), some, rng)
        changed.append(result if floats else result.mul(255).round().to(torch.uint8))
    return torch.cat(changed)[: len(images)]


def _numbers(ids: Any, images: Tensor) -> Tensor:
    """The ids as a tensor beside the images."""
    given = torch.arange(len(images)) if ids is None else ids
    numbers = given if isinstance(given, Tensor) else torch.as_tensor(np.asarray(given))
    require(not numbers.is_floating_point(), "ids", "must be integers", str(numbers.dtype))
    require(numbers.shape == images.shape[:1], "ids", f"must have shape [{len(images)}]", tuple(numbers.shape))
    return numbers.to(images.device, torch.int64)


def _nothing(images: Tensor) -> tuple[Tensor, Tensor]:
    return images.new_zeros((1, *images.shape[1:])), torch.zeros(1, dtype=torch.int64, device=images.device)
