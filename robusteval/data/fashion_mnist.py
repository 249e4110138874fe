"""Fashion-MNIST: 28x28 grey pictures of ten kinds of clothing (Xiao et al., 2017, arXiv:1708.07747)."""

import gzip
import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from robusteval.data.dataset import Augmentation, DataSet, Split, SplitName
from robusteval.data.places import DOWNLOADED, cache, existing, fetch, reading

_BUNDLED = Path(__file__).with_name("bundled") / "fashion-mnist"
_DEBIAN = Path("/usr/share/datasets/fashion-mnist")
_FILES: Mapping[SplitName, tuple[str, str]] = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
_CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)


@dataclass(frozen=True)
class FashionMnist(DataSet):
    """60,000 training and 10,000 test images; the test images come with robusteval.

    Attributes:
        root: the folder that holds the IDX files, gzipped or plain, itself or in FashionMNIST/raw.
    """

    name: ClassVar[str] = "fashion-mnist"
    augmentation: ClassVar[Augmentation] = Augmentation(flip=True)

    root: str | None = None

    def load(self, split: SplitName) -> Split:
        """Read the split, downloading it where it is on no known path."""
        images, labels = self._files(split)
        return Split.of(_idx(images, 3)[:, None], _idx(labels, 1), _CLASSES)

    def _files(self, split: SplitName) -> tuple[Path, Path]:
        home = cache() / self.name if self.root is None else existing("root", self.root, DOWNLOADED)
        places = [home, home / "FashionMNIST" / "raw"]
        if split == "train":
            places.append(_DEBIAN)
        elif self.root is None:
            places = [_BUNDLED]
        found = _found(places, split)
        if found is None:
            fetch(self.name, _urls(split), home, places, "apt-get install dataset-fashion-mnist")
            found = home / f"{_FILES[split][0]}.gz", home / f"{_FILES[split][1]}.gz"
        return found


def _found(places: Iterable[Path], split: SplitName) -> tuple[Path, Path] | None:
    for place in places:
        files = [place / (stem + end) for stem in _FILES[split] for end in ("", ".gz")]
        match [file for file in files if file.is_file()]:
            case [images, labels]:
                return images, labels
    return None


def _urls(split: SplitName) -> dict[str, str]:
    from torchvision.datasets import FashionMNIST  # heavy, and needed for a download only

    files = [f"{stem}.gz" for stem in _FILES[split]]
    return {FashionMNIST.mirrors[0] + file: md5 for file, md5 in FashionMNIST.resources if file in files}


def _idx(file: Path, dimensions: int) -> Tensor:
    """Read an IDX file of bytes: a magic number, the sizes, the values (LeCun's MNIST page)."""
    with reading(file):
        data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        magic, *shape = struct.unpack_from(f">{1 + dimensions}I", data)
        start = 4 + 4 * dimensions
        if magic != 0x800 + dimensions or len(data) - start != math.prod(shape):
            raise ValueError(f"it is cut off, or not an IDX file of bytes in {dimensions} dimensions")
        return torch.frombuffer(bytearray(data), dtype=torch.uint8, offset=start).reshape(shape)
