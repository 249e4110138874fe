"""The official "python version" of CIFAR-10 and CIFAR-100, read without running the code a pickle may carry."""

import io
import pickle
import tarfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from robusteval.core.errors import DataError
from robusteval.data.dataset import Split, SplitName
from robusteval.data.places import DOWNLOADED, cache, existing, fetch, reading

_HOST = "https://www.cs.toronto.edu/~kriz/"
# The batches were pickled by Python 2 and NumPy 1, whose names for these three moved since.
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


@dataclass(frozen=True)
class CifarArchive:
    """What one of the two archives is called and holds.

    Attributes:
        name: the data set's name.
        folder: the folder inside the archive.
        archive: the archive's file name.
        md5: the archive's md5 sum.
        batches: the files of each split, in order.
        meta: the file with the class names.
        labels: the key of the labels in a batch.
        classes: the key of the class names in `meta`.
    """

    name: str
    folder: str
    archive: str
    md5: str
    batches: Mapping[SplitName, tuple[str, ...]]
    meta: str
    labels: str
    classes: str

    def read(self, root: str | None, split: SplitName) -> Split:
        """Read a split from `root` or the cache, downloading the archive where neither holds it.

        Raises:
            DataError: the data are damaged, or not there and the download failed.
        """
        place = self._place(cache() if root is None else existing("root", root, DOWNLOADED))
        names = (*self.batches[split], self.meta)
        with reading(place):
            contents = _from_folder(place, names) if place.is_dir() else _from_tar(place, names)
        for name in names:
            if name not in contents:
                raise DataError(f"{place} holds no {name}: {self.name} is incomplete")
        with reading(place, KeyError, IndexError, TypeError, AttributeError):
            batches = [_unpickled(contents[name]) for name in self.batches[split]]
            pixels = np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32)
            labels = np.concatenate([batch[self.labels] for batch in batches])
            classes = tuple(_unpickled(contents[self.meta])[self.classes])
        return Split.of(torch.from_numpy(pixels), torch.from_numpy(labels), classes)

    def _place(self, home: Path) -> Path:
        places = [home, home / self.folder, home / self.archive]
        for place in places:
            if place.is_file() or (place / self.meta).is_file():
                return place
        url = _HOST + self.archive
        fetch(self.name, {url: self.md5}, home, places, f"curl --create-dirs -o {home / self.archive} {url}")
        return home / self.archive


def _from_folder(folder: Path, names: Collection[str]) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}


def _from_tar(file: Path, names: Collection[str]) -> dict[str, bytes]:
    # One pass in the archive's order: going back would decompress it again.
    contents = {}
    with tarfile.open(file) as archive:
        for member in archive:
            stream = archive.extractfile(member) if Path(member.name).name in names else None
            if stream is not None:
                contents[Path(member.name).name] = stream.read()
    return contents


class _Unpickler(pickle.Unpickler):
    """Lists, dicts, strings, numbers and NumPy arrays; nothing that could run."""

    def find_class(self, module: str, name: str) -> Any:
        """Look up one of the three names an array needs."""
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"a CIFAR batch has no use for {module}.{name}")
        return _ALLOWED[module, name]


def _unpickled(data: bytes) -> Any:
    return _Unpickler(io.BytesIO(data), encoding="latin1").load()
