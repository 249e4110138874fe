"""NumPy archives of images and labels, in robusteval's, Keras's or the plain naming (numpy.org, `numpy.savez`)."""

import zipfile
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from robusteval.data.dataset import OwnDataSet, Split, SplitName
from robusteval.data.memory import from_pair
from robusteval.data.places import existing, part, reading

_KEYS: Mapping[SplitName, tuple[tuple[str, str], ...]] = {
    "train": (("train_images", "train_labels"), ("x_train", "y_train")),
    "test": (("test_images", "test_labels"), ("x_test", "y_test"), ("images", "labels")),
}


@dataclass(frozen=True)
class Npz(OwnDataSet):
    """An archive with images [n, h, w, c], [n, c, h, w] or [n, h, w] and their labels, and perhaps `classes`.

    The keys are `{split}_images` and `{split}_labels`, with ids in `{split}_index` where given; or `x_{split}` and
    `y_{split}`; or `images` and `labels`, which are the test split.
    """

    name: ClassVar[str] = "npz"

    def load(self, split: SplitName) -> Split:
        """Read the split's images, and the labels of all splits to know the classes."""
        path = existing("path", self.path)
        with reading(path):
            if not zipfile.is_zipfile(path):
                raise ValueError("it is cut off, or not an npz archive")
            with np.load(path, allow_pickle=False) as archive:
                splits = _splits(archive)
                images, labels = part(f"{path} (with the keys {', '.join(archive)})", splits, split)
                ids = archive.get(f"{split}_index")
                return from_pair(archive[images], archive[labels], _classes(archive, splits.values()), ids)


def _splits(keys: Container[str]) -> dict[SplitName, tuple[str, str]]:
    found = {split: [pair for pair in pairs if all(key in keys for key in pair)] for split, pairs in _KEYS.items()}
    return {split: pairs[0] for split, pairs in found.items() if pairs}


def _classes(archive: Mapping[str, NDArray[Any]], splits: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    if "classes" in archive:
        return tuple(str(name) for name in archive["classes"])
    labels = [archive[key] for _, key in splits]
    largest = max((int(array.max(initial=0)) for array in labels if array.dtype.kind in "iu"), default=0)
    return tuple(str(label) for label in range(1 + largest))
