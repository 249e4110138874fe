"""Stored sets of corrupted images in the layouts of the published ones, read as they are needed.

CIFAR-10-C, CIFAR-100-C, Tiny-ImageNet-C and ImageNet-C are of Hendrycks and Dietterich (2019, arXiv:1903.12261;
github.com/hendrycks/robustness), MNIST-C is of Mu and Gilmer (2019, arXiv:1906.02337). `robusteval corrupt` writes the
same layouts. A corruption's images lie, by the name with underscores, in one of

- `NAME.npy`: all severities, one after the other, uint8 [severities * n, h, w, c], beside `labels.npy`;
- `NAME/SEVERITY.npy`: one severity, [n, h, w, c], with `labels.npy` in the folder above;
- `NAME/test_images.npy` and `NAME/test_labels.npy`: the only severity;
- `NAME/SEVERITY/CLASS/*`: pictures, perhaps in a folder of corruptions of one kind such as `noise/`.
"""

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robusteval.core.errors import DataError, nearest
from robusteval.data.dataset import Split
from robusteval.data.folder import folders, pictures
from robusteval.data.pictures import decoded
from robusteval.data.places import existing, reading

MANIFEST = "robusteval.json"
"""What `robusteval corrupt` leaves in the folder of a set: such a set is not an official one."""

_MD5: Mapping[str, str] = MappingProxyType(
    {
        "CIFAR-10-C": "56bf5dcef84df0e2308c6dcbcbbd8499",  # zenodo.org/records/2535967
        "CIFAR-100-C": "11f0ed0f1191edbf9fa23466ae6021d3",  # zenodo.org/records/3555552
    }
)
_CHUNK, _SOME = 1000, 50

Origin = Literal["official", "generated"]


@dataclass(frozen=True)
class Stored(ABC):
    """The stored images of one corruption at one severity, in the order of the clean test set."""

    shape: tuple[int, int, int]

    @abstractmethod
    def levels(self, rows: slice) -> Tensor:
        """Read the images of these samples, [n, c, h, w] uint8."""

    @abstractmethod
    def digest(self, n: int) -> str:
        """A digest of what is stored for the first n samples."""

    def images(self, rows: slice) -> Tensor:
        """Read the images of these samples, [n, c, h, w] float32 in [0, 1], with the clean ones' channels."""
        levels = self.levels(rows)
        if tuple(levels.shape[2:]) != self.shape[1:] or levels.shape[1] not in (1, self.shape[0]):
            raise DataError(f"{self}: holds images of shape {tuple(levels.shape[1:])}, the test set {self.shape}")
        # In the usual layout, told by its strides: convolutions round by what they take the layout for.
        levels = levels.expand(-1, self.shape[0], -1, -1)
        return levels.to(torch.float32, memory_format=torch.contiguous_format).div_(255)


@dataclass(frozen=True)
class StoredArray(Stored):
    """Rows of a .npy file, which stays on disk."""

    file: Path
    places: NDArray[np.int64]

    def levels(self, rows: slice) -> Tensor:
        """Read rows."""
        with reading(self.file):
            pixels = np.ascontiguousarray(self._array[self.places[rows]])
        pixels = pixels[..., None] if pixels.ndim == 3 else pixels
        return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()

    def digest(self, n: int) -> str:
        """Hash the rows."""
        digest = hashlib.sha256(repr(self._array.shape[1:]).encode())
        for start in range(0, n, _CHUNK):
            digest.update(self.levels(slice(start, min(n, start + _CHUNK))).numpy().data.cast("B"))
        return digest.hexdigest()

    def __str__(self) -> str:
        return str(self.file)

    @cached_property
    def _array(self) -> NDArray[np.uint8]:
        return _opened(self.file)


@dataclass(frozen=True)
class StoredPictures(Stored):
    """Picture files, decoded as they are: no resizing, no cropping."""

    files: tuple[Path, ...]

    def levels(self, rows: slice) -> Tensor:
        """Decode pictures."""
        chosen = self.files[rows]
        return decoded(((str(file), _bytes(file)) for file in chosen), len(chosen))

    def digest(self, n: int) -> str:
        """Hash the pictures' names and sizes, and some whole: to read millions before the work would take hours."""
        files = self.files[:n]
        names = [(file.parent.name, file.name, file.stat().st_size) for file in files]
        digest = hashlib.sha256(repr(names).encode())
        for file in files[:: max(1, n // _SOME)]:
            digest.update(_bytes(file))
        return digest.hexdigest()

    def __str__(self) -> str:
        return str(self.files[0].parent.parent)


@dataclass
class OfficialSet:
    """A folder of stored corrupted images of a test set.

    Attributes:
        root: the folder.
        split: the clean test set, whose samples they are.
        numbered: whether ids go by the numbers in the pictures' names, as those of Tiny-ImageNet do, not by the names.
    """

    root: Path
    split: Split
    numbered: bool = False
    _last: dict[tuple[str, int, int, int | None], Stored] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.root = existing("official", str(self.root), "name the folder of a stored set such as CIFAR-10-C")
        if not self.root.is_dir():
            raise DataError(f"official={str(self.root)!r}: must be the folder extracted from the archive")

    def check_archive(self) -> None:
        """Compare the published md5 sum with that of the archive, where it lies beside the folder."""
        archive = self.root.resolve().with_name(f"{self.root.resolve().name}.tar")
        expected = _MD5.get(archive.stem)
        if expected is None or not archive.is_file():
            return
        with archive.open("rb") as file:
            found = hashlib.file_digest(file, "md5").hexdigest()
        if found != expected:
            raise DataError(f"{archive} is damaged: its md5 sum is {found}, not {expected}; get it again")

    @property
    def origin(self) -> Origin:
        """Whether others made and published the images, as far as the folder says."""
        return "generated" if (self.root / MANIFEST).is_file() else "official"

    def view(self, corruption: str, severity: int, severities: int, n: int | None = None) -> Stored:
        """What is stored of a corruption at a severity, checked against the clean test set.

        Args:
            corruption: the name, with hyphens.
            severity: from 1 on.
            severities: how many the corruption has.
            n: how many samples are needed, from the first on; all of them by default.

        Raises:
            DataError: nothing is stored, or files are missing, or shape or labels are not those of the test set.
        """
        key = corruption, severity, severities, n
        if key not in self._last:
            self._last.clear()  # a worker goes view by view
            self._last[key] = self._found(corruption.replace("-", "_"), severity, severities, n)
        return self._last[key]

    def _found(self, stem: str, severity: int, severities: int, n: int | None) -> Stored:
        root, single = self.root, severities == 1
        if (root / f"{stem}.npy").is_file():
            return self._array(root / f"{stem}.npy", root / "labels.npy", severity, severities, n)
        if (root / stem / f"{severity}.npy").is_file():
            return self._array(root / stem / f"{severity}.npy", root / "labels.npy", 1, 1, n)
        if (root / stem / "test_images.npy").is_file() and single:
            return self._array(root / stem / "test_images.npy", root / stem / "test_labels.npy", 1, 1, n)
        for place in (root / stem / str(severity), *sorted(root.glob(f"*/{stem}/{severity}"))):
            if place.is_dir():
                return self._pictures(place) if self.origin == "official" else self._numbered(place, n)
        raise DataError(f"official={str(root)!r}: {self._missing(stem, severity)}")

    def _missing(self, stem: str, severity: int) -> str:
        if (self.root / stem / "test_images.npy").is_file():
            return f"is MNIST-C, whose {stem} has one severity: name the view official:{stem}(family='mnist-c')@1"
        inside = ("*/test_images.npy", "*/[1-5]", "*/*/[1-5]", "*/[1-5].npy")
        names = {place.parent.name for pattern in inside for place in self.root.glob(pattern)}
        names |= {place.stem for place in self.root.glob("*.npy")} - {"labels", "ids"}
        return f"holds no {stem}.npy and no folder {stem}/{severity}; {nearest(stem, names)}"

    def _array(self, file: Path, labels: Path, severity: int, severities: int, needed: int | None) -> Stored:
        channels, height, width = self.split.shape
        images, known = _opened(file), _opened(labels, "iu")
        n = len(images) // severities
        whole = n > 0 and images.shape[:3] == (n * severities, height, width)
        if images.dtype != np.uint8 or not whole or images.shape[3:] not in ((), (1,), (channels,)):
            wanted = f"[{severities} x n, {height}, {width}, {channels}]".replace("[1 x n", "[n")
            raise DataError(f"{file} holds {images.dtype} of shape {images.shape}, not uint8 {wanted}")
        if known.ndim != 1 or len(known) == 0 or len(known) % n:
            raise DataError(f"{labels} has shape {known.shape}: {file.name} has {len(images)} images")
        rows, first = self._rows(n, file, needed), (severity - 1) * n
        self._agree(known[rows + first if len(known) == len(images) else rows], labels)
        return StoredArray(self.split.shape, file, rows + first)

    def _rows(self, n: int, file: Path, needed: int | None) -> NDArray[np.int64]:
        """The row of each sample in one severity's block: its id, or its place in `ids.npy`."""
        ids = self.split.ids.numpy()[:needed]
        stated = _opened(self.root / "ids.npy", "iu") if (self.root / "ids.npy").is_file() else np.arange(n)
        order = np.argsort(stated, kind="stable")
        rows = order[np.searchsorted(stated, ids, sorter=order).clip(0, len(stated) - 1)]
        absent = ids[stated[rows] != ids]
        if len(stated) != n or len(absent):
            lacking = f"no sample {absent[0]}" if len(absent) else f"{n} samples, and ids.npy {len(stated)}"
            raise DataError(f"{file} has {lacking}: it is of another test set")
        found: NDArray[np.int64] = rows.astype(np.int64)
        return found

    def _agree(self, labels: NDArray[Any], file: Path) -> None:
        wrong = int((labels != self.split.labels.numpy()[: len(labels)]).sum())
        if wrong:
            raise DataError(
                f"{file}: {wrong} of {len(labels)} labels are not those of the test set: it is of another data set, "
                "or in another order"
            )

    def _pictures(self, place: Path) -> Stored:
        """Every class's pictures in the order of their names are its samples in the order of their ids."""
        found = folders(place)
        names = [folder.name for folder in found]
        if len(found) != len(self.split.classes):
            raise DataError(f"{place} has folders of {len(found)} classes, the test set {len(self.split.classes)}")
        if set(names) == set(self.split.classes):
            found = [place / name for name in self.split.classes]
        files: list[Path] = [place] * len(self.split)
        ids, labels = self.split.ids.numpy(), self.split.labels.numpy()
        for label, folder in enumerate(found):
            inside = sorted(pictures(folder), key=_number) if self.numbered else pictures(folder)
            rows = np.flatnonzero(labels == label)
            if len(inside) != len(rows):
                raise DataError(f"{folder} holds {len(inside)} pictures, the test set has {len(rows)} of that class")
            for row, file in zip(rows[np.argsort(ids[rows], kind="stable")], inside, strict=True):
                files[row] = file
        stored = StoredPictures(self.split.shape, tuple(files))
        stored.images(slice(0, 1))  # whose size is the others'
        return stored

    def _numbered(self, place: Path, needed: int | None) -> Stored:
        """Pictures that robusteval corrupt made, of all samples or some: each is named after its sample's id."""
        known = {_number(file)[0]: file for folder in folders(place) for file in pictures(folder)}
        ids, labels = (values[:needed].tolist() for values in (self.split.ids, self.split.labels))
        absent = [each for each in ids if each not in known]
        if absent:
            raise DataError(
                f"{place} has no sample {absent[0]}: it holds {len(known)} pictures of the {len(ids)} needed"
            )
        found = [known[each] for each in ids]
        names = [(self.split.classes[label], f"{label:05d}") for label in labels]
        wrong = sum(file.parent.name not in either for file, either in zip(found, names, strict=True))
        if wrong:
            raise DataError(f"{place}: {wrong} of {len(ids)} pictures are not in the folder of their class")
        stored = StoredPictures(self.split.shape, tuple(found))
        stored.images(slice(0, 1))
        return stored


def _number(file: Path) -> tuple[int, str]:
    digits = re.findall(r"\d+", file.stem)
    return (int(digits[-1]) if digits else -1), file.name


def _opened(file: Path, kinds: str = "u") -> NDArray[Any]:
    if not file.is_file():
        raise DataError(f"{file} is missing: the stored set is incomplete")
    with reading(file):
        array: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    if array.dtype.kind not in kinds:
        raise DataError(f"{file} holds {array.dtype}, not {'uint8' if kinds == 'u' else 'integers'}")
    return array


def _bytes(file: Path) -> bytes:
    with reading(file):
        return file.read_bytes()
