"""CIFAR-10: 32x32 colour photographs of ten classes (Krizhevsky, 2009, "Learning multiple layers of features")."""

from dataclasses import dataclass
from typing import ClassVar

from robusteval.data.cifar_archive import CifarArchive
from robusteval.data.dataset import Augmentation, DataSet, Split, SplitName

_ARCHIVE = CifarArchive(
    name="cifar10",
    folder="cifar-10-batches-py",
    archive="cifar-10-python.tar.gz",
    md5="c58f30108f718f92721af3b95e74349a",
    batches={"train": tuple(f"data_batch_{number}" for number in range(1, 6)), "test": ("test_batch",)},
    meta="batches.meta",
    labels="labels",
    classes="label_names",
)


@dataclass(frozen=True)
class Cifar10(DataSet):
    """50,000 training and 10,000 test images.

    Attributes:
        root: the folder cifar-10-batches-py, cifar-10-python.tar.gz, or the folder that holds either.
    """

    name: ClassVar[str] = "cifar10"
    augmentation: ClassVar[Augmentation] = Augmentation(crop=4, flip=True)

    root: str | None = None

    def load(self, split: SplitName) -> Split:
        """Read the split's batches."""
        return _ARCHIVE.read(self.root, split)
