"""Tiny-ImageNet-200: 64x64 photographs of 200 ImageNet classes (Le and Yang, 2015, Stanford CS 231N)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from zipfile import Path as ZipPath
from zipfile import ZipFile

import torch

from robusteval.core.errors import DataError
from robusteval.data.dataset import Augmentation, DataSet, Split, SplitName
from robusteval.data.pictures import decoded
from robusteval.data.places import cache, existing, reading

_SIZE = 64
_PER_CLASS = 500
_FOLDER = "tiny-imagenet-200"
_ADDRESS = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"

_REMEDY = f"get it with: curl --create-dirs -o {cache()}/tiny-imagenet-200.zip {_ADDRESS}"

Tree = Path | ZipPath


@dataclass(frozen=True)
class TinyImagenet(DataSet):
    """100,000 training images; the 10,000 validation images, whose labels are public, are the test split.

    The id of a training image is 500 times its class plus its number, so that a subset keeps the ids of the whole.

    Attributes:
        path: tiny-imagenet-200.zip, which is read as it is, or the folder extracted from it; by default the zip in the
            cache.
    """

    name: ClassVar[str] = "tiny-imagenet"
    augmentation: ClassVar[Augmentation] = Augmentation(crop=8, flip=True)

    path: str | None = None

    def load(self, split: SplitName) -> Split:
        """Decode the split's JPEGs; the classes are in the order of their WordNet ids."""
        place = existing("path", str(cache() / "tiny-imagenet-200.zip") if self.path is None else self.path, _REMEDY)
        with _opened(place) as tree:
            with reading(place):
                wnids = sorted(_text(tree, "wnids.txt").split())
                listed = _train(tree, wnids) if split == "train" else _validation(tree, wnids)
                names = _names(tree, wnids)
            pictures = ((str(file), _bytes(file)) for file, _, _ in listed)
            images = decoded(pictures, len(listed), _SIZE)
        labels, ids = (torch.tensor([row[column] for row in listed], dtype=torch.int64) for column in (1, 2))
        return Split.of(images, labels, names, ids)


@contextmanager
def _opened(path: Path) -> Iterator[Tree]:
    if path.is_dir():
        yield _inside(path)
        return
    with reading(path):
        archive = ZipFile(path)
    with archive:
        yield _inside(ZipPath(archive))


def _inside(tree: Tree) -> Tree:
    return tree / _FOLDER if (tree / _FOLDER).exists() else tree


def _train(tree: Tree, wnids: list[str]) -> list[tuple[Tree, int, int]]:
    """File, label and id of the training images that are there: listing a zip class by class would be slow."""
    folders = [(tree / "train" / wnid / "images", wnid) for wnid in wnids]
    return [
        (file, label, label * _PER_CLASS + number)
        for label, (folder, wnid) in enumerate(folders)
        for number in range(_PER_CLASS)
        if (file := folder / f"{wnid}_{number}.JPEG").exists()
    ]


def _validation(tree: Tree, wnids: list[str]) -> list[tuple[Tree, int, int]]:
    labels = {wnid: label for label, wnid in enumerate(wnids)}
    rows = [line.split("\t") for line in _text(tree, "val/val_annotations.txt").splitlines()]
    unknown = [row for row in rows if len(row) < 2 or row[1] not in labels]
    if unknown:
        raise ValueError(f"val_annotations.txt has a line without a known class: {unknown[0]}")
    return [(tree / "val" / "images" / row[0], labels[row[1]], number) for number, row in enumerate(rows)]


def _names(tree: Tree, wnids: list[str]) -> tuple[str, ...]:
    """The first word for each class, which tells the 200 apart; the WordNet id where there is none."""
    lines = _text(tree, "words.txt").splitlines() if (tree / "words.txt").exists() else []
    words = {wnid: text.split(",")[0] for wnid, _, text in (line.partition("\t") for line in lines)}
    return tuple(words.get(wnid, wnid) for wnid in wnids)


def _text(tree: Tree, name: str) -> str:
    file = tree / name
    if not file.exists():
        raise DataError(f"{tree} is not Tiny-ImageNet: it has no {name}")
    return file.read_text(encoding="utf-8")


def _bytes(file: Tree) -> bytes:
    with reading(file):
        return file.read_bytes()
