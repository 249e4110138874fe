"""Images that are in memory already, as a pair of arrays or a data loader, checked and in the house's layout."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler

from robusteval.core.errors import DataError, InputError, require
from robusteval.data.dataset import Split

Array = Tensor | NDArray[Any]


def from_pair(x: Array, y: Array, classes: tuple[str, ...] | None = None, ids: Array | None = None) -> Split:
    """Images and labels as a split.

    Args:
        x: [n, c, h, w], [n, h, w, c], [n, h, w], or vectors [n, d, 1, 1]; uint8, or floats in [0, 1], which stay
            floats.
        y: [n] or [n, 1] integers.
        classes: class names; the numbers of the labels where there are none.
        ids: [n] integers, unique; 0..n-1 where there are none.

    Raises:
        DataError: there is no image.
        InputError: shapes, types, pixel range, labels or ids break their rule.
    """
    images, labels = _tensor("images", x), _tensor("labels", y)
    kinds = images.dtype == torch.uint8 or images.is_floating_point()
    require(kinds, "images", "must be uint8 or floats in [0, 1]", str(images.dtype))
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    return Split.of(_channels_first(images), labels, classes, None if ids is None else _tensor("ids", ids))


def from_loader(loader: DataLoader[Any]) -> Split:
    """All batches (x, y) of a data loader as a split; the sample's id is its position.

    Raises:
        DataError: the loader is empty.
        InputError: the loader shuffles, or does not give pairs.
    """
    _refuse_shuffling(loader)
    batches = [_pair(batch) for batch in loader]
    if not batches:
        raise DataError("the loader is empty: there is no image to evaluate")
    shapes = sorted({tuple(x.shape[1:]) for x, _ in batches})
    require(len(shapes) == 1, "loader", "all images must have one shape", shapes)
    x, y = (torch.cat(tensors) for tensors in zip(*batches, strict=True))
    return from_pair(x, y)


def _tensor(argument: str, array: Array) -> Tensor:
    if isinstance(array, Tensor):
        return array.detach().cpu()
    array = np.asarray(array)
    require(array.dtype.kind in "biuf", argument, "must be an array of numbers", str(array.dtype))
    # torch cannot hold a foreign byte order, and warns of memory it may not write to.
    return torch.from_numpy(np.require(array, array.dtype.newbyteorder("="), ["C", "W"]))


def _channels_first(images: Tensor) -> Tensor:
    if images.ndim == 3:
        return images[:, None]
    vectors = images.shape[2:] == (1, 1)
    if images.ndim == 4 and not vectors and images.shape[1] not in (1, 3) and images.shape[3] in (1, 3):
        return images.permute(0, 3, 1, 2).contiguous()
    return images


def _refuse_shuffling(loader: DataLoader[Any]) -> None:
    batches = loader.batch_sampler
    own = batches is None or type(batches) is BatchSampler
    sampler = batches.sampler if isinstance(batches, BatchSampler) else loader.sampler
    rule = "must go through its data set in order; make it with shuffle=False and without a sampler of its own"
    require(own and type(sampler) is SequentialSampler, "loader", rule, type(sampler if own else batches).__name__)


def _pair(batch: object) -> tuple[Tensor, Tensor]:
    match batch:
        case [Tensor() as x, Tensor() as y] if y.ndim > 0:
            return x, y
    raise InputError("loader: every batch must be a pair of tensors, images and labels, with a sample per row")
