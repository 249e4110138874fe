"""The contract of a data set, and the images it hands over."""

import hashlib
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple, Self

import torch
from torch import Tensor

from robusteval.core.component import Component
from robusteval.core.errors import DataError, InputError, require
from robusteval.core.rng import Stream
from robusteval.core.types import Batch

SplitName = Literal["train", "test"]


class Augmentation(NamedTuple):
    """The label-preserving changes of a training image: a shift by at most `crop` pixels, a horizontal mirror.

    `views` is for images that hold two views at half strength, each in a half of the channels: a random share of the
    first, the rest of the second.
    """

    crop: int = 0
    flip: bool = False
    views: bool = False


@dataclass(frozen=True)
class Split:
    """Images and labels of one part of a data set, kept small in memory.

    Attributes:
        images: [n, c, h, w]; uint8, or float32 in [0, 1] where the caller brought floats. c is 1 or 3, or twice that
            for two views of a sample; a vector of d numbers is an image of shape [d, 1, 1].
        labels: [n] int64, each below len(classes).
        ids: [n] int64, unique: the position in the official split, which random numbers and pairing go by.
        classes: class names.
    """

    images: Tensor
    labels: Tensor
    ids: Tensor
    classes: tuple[str, ...]

    @classmethod
    def of(
        cls, images: Tensor, labels: Tensor, classes: tuple[str, ...] | None = None, ids: Tensor | None = None
    ) -> Self:
        """Check images and labels and number the samples.

        Raises:
            DataError: there is no image.
            InputError: shapes, types, pixel range, labels or ids break their rule.
        """
        if len(images) == 0:
            raise DataError("the data set is empty: there is no image to evaluate")
        shape = tuple(images.shape)
        rule = "must have shape [n, 1 or 3, height, width], [n, 2 or 6, height, width] (two views) or [n, d, 1, 1]"
        require(_fits(shape), "images", rule, shape)
        require(labels.shape == shape[:1], "labels", f"must have shape [{len(images)}]", tuple(labels.shape))
        require(not labels.is_floating_point(), "labels", "must be integers", str(labels.dtype))
        labels = labels.to(torch.int64)
        names = classes or tuple(str(label) for label in range(int(labels.max()) + 1))
        worst = labels[(labels < 0) | (labels >= len(names))]
        require(len(worst) == 0, "labels", f"must be in 0..{len(names) - 1}", int(worst[0]) if len(worst) else None)
        if images.dtype != torch.uint8:
            images = _checked_floats(images)
        ids = torch.arange(len(images)) if ids is None else ids.to(torch.int64)
        require(ids.shape == shape[:1], "ids", f"must have shape [{len(images)}]", tuple(ids.shape))
        ordered = ids.sort().values
        twice = ordered[1:][ordered.diff() == 0]
        require(len(twice) == 0, "ids", "must be unique, one number per sample", int(twice[0]) if len(twice) else None)
        return cls(images, labels, ids, names)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    @cached_property
    def digest(self) -> str:
        """The sha256 of images, labels and ids, in hex."""
        digest = hashlib.sha256(repr((tuple(self.images.shape), str(self.images.dtype), self.classes)).encode())
        for tensor in (self.images, self.labels, self.ids):
            digest.update(tensor.contiguous().numpy().data.cast("B"))
        return digest.hexdigest()

    def batch(self, rows: Tensor | slice = slice(None)) -> Batch:
        """The chosen rows as float images in [0, 1]."""
        images = self.images[rows]
        x = images.to(torch.float32).div_(255) if images.dtype == torch.uint8 else images
        return Batch(x, self.labels[rows], self.ids[rows])

    def rows(self, rows: Tensor | slice) -> Self:
        """The chosen rows as a split of their own; ids stay."""
        return replace(self, images=self.images[rows], labels=self.labels[rows], ids=self.ids[rows])

    def first(self, n: int) -> Self:
        """The first n samples, or all where there are fewer."""
        require(n >= 1, "samples", "must be at least 1, or 'all'", n)
        return self if n >= len(self) else self.rows(slice(n))

    def stratified(self, n: int, seed: int = 0) -> Self:
        """A random subset of n samples with the classes in their proportions, in the original order."""
        require(1 <= n <= len(self), "samples", f"must be in 1..{len(self)}", n)
        keys = Stream.seeded(seed).stream("stratified").uniform(self.ids, dtype=torch.float64)
        counts = torch.bincount(self.labels, minlength=len(self.classes))
        order = torch.argsort(keys, stable=True)
        order = order[torch.argsort(self.labels[order], stable=True)]
        rank = torch.arange(len(self)) - (torch.cumsum(counts, 0) - counts)[self.labels[order]]
        # Position of each sample within its class, as a share: the n smallest shares keep every class's proportion.
        share = (rank + keys[order]) / counts[self.labels[order]]
        return self.rows(order[torch.argsort(share, stable=True)[:n]].sort().values)


@dataclass(frozen=True)
class DataSet(Component):
    """A data set: `load` is the author's, and `augmentation` (a class variable will do); `split` is everyone's."""

    @property
    def augmentation(self) -> Augmentation:
        """The changes of a training image that keep its label: none unless the data set says so."""
        return Augmentation()

    @abstractmethod
    def load(self, split: SplitName) -> Split:
        """Read one split from disk, with `Split.of`."""

    def split(self, name: str) -> Split:
        """The `train` or `test` split."""
        if name not in ("train", "test"):
            raise InputError(f"split={name!r}: must be 'train' or 'test'")
        return self.load("train" if name == "train" else "test")


@dataclass(frozen=True)
class OwnDataSet(DataSet):
    """A data set that the user brings: where it lies, and what training may do to its images.

    Attributes:
        path: the file or folder.
        crop: the largest shift of a training image, in pixels.
        flip: whether a training image may be mirrored horizontally.
    """

    path: str
    crop: int = 0
    flip: bool = False

    def __post_init__(self) -> None:
        require(self.crop >= 0, "crop", "must be at least 0", self.crop)

    @property
    def augmentation(self) -> Augmentation:
        """What the fields say."""
        return Augmentation(self.crop, self.flip)


def parts(train: Split, held_out: float, seed: int) -> tuple[Split, Split | None]:
    """The training part and the held-out validation part, a share of the train split, never of test (TRUST R29)."""
    count = round(held_out * len(train))
    if count == 0:
        return train, None
    require(count < len(train), "validation", f"must leave some of the {len(train)} training samples", held_out)
    validation = train.stratified(count, seed)
    rest = ~torch.isin(train.ids, validation.ids)
    return train.rows(rest), validation


def missing(name: str, searched: Sequence[str], remedy: str) -> DataError:
    """The error for data that are not on this machine: where they were looked for, and the command that gets them."""
    return DataError(f"{name} is not on this machine (looked in {', '.join(searched)}); {remedy}")


def _fits(shape: tuple[int, ...]) -> bool:
    """Whether images have a shape of the house: one view or two, or vectors."""
    match shape:
        case (_, 1 | 3, _, _) | (_, _, 1, 1):
            return True
        case (_, 2 | 6 as channels, _, width):
            return width >= channels  # else 2 or 6 is rather the height, and the channels come last
    return False


def _checked_floats(images: Tensor) -> Tensor:
    images = images.to(torch.float32)
    low, high = float(images.min()), float(images.max())
    rule = "must be finite and in [0, 1]; divide by 255, and leave normalisation to the model"
    require(low >= 0 and high <= 1, "images", rule, f"[{low:g}, {high:g}]")
    return images
