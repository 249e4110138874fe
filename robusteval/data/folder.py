"""A folder of pictures with one sub-folder per class, as torchvision's ImageFolder has it (docs.pytorch.org/vision)."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch

from robusteval.core.errors import DataError
from robusteval.data.dataset import OwnDataSet, Split, SplitName
from robusteval.data.pictures import decoded
from robusteval.data.places import existing, part, parts, reading

_ENDINGS = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class Folder(OwnDataSet):
    """`path/<class>/*.png`, which is the test split, or `path/{train,test}/<class>/*.png` (`val` may stand for test).

    Attributes:
        size: resize the shorter side to this many pixels and crop the centre; None asks that all have one size.
    """

    name: ClassVar[str] = "folder"

    size: int | None = None

    def load(self, split: SplitName) -> Split:
        """Decode the split's pictures in the order of their names; classes are those of both splits, sorted."""
        splits = _splits(existing("path", self.path))
        place = part(self.path, splits, split)
        classes = sorted({folder.name for each in splits.values() for folder in folders(each)})
        files = [(file, classes.index(folder.name)) for folder in folders(place) for file in pictures(folder)]
        if not files:
            raise DataError(f"{place} holds no picture in a folder per class ({' '.join(_ENDINGS)})")
        images = decoded(((str(file), _bytes(file)) for file, _ in files), len(files), self.size)
        return Split.of(images, torch.tensor([label for _, label in files]), tuple(classes))


def _splits(root: Path) -> dict[SplitName, Path]:
    return parts(lambda word: root / word if (root / word).is_dir() else None) or {"test": root}


def folders(place: Path) -> list[Path]:
    """The folders of classes, sorted."""
    return _sorted(each for each in place.glob("*") if each.is_dir())


def pictures(folder: Path) -> list[Path]:
    """The pictures in a folder and below it, sorted."""
    return _sorted(each for each in folder.rglob("*") if each.suffix.lower() in _ENDINGS)


def _sorted(paths: Iterable[Path]) -> list[Path]:
    return sorted(path for path in paths if not path.name.startswith("."))


def _bytes(file: Path) -> bytes:
    with reading(file):
        return file.read_bytes()
