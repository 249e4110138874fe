"""CIFAR-100: 32x32 colour photographs of 100 classes (Krizhevsky, 2009, "Learning multiple layers of features")."""

from dataclasses import dataclass
from typing import ClassVar

from robusteval.data.cifar_archive import CifarArchive
from robusteval.data.dataset import Augmentation, DataSet, Split, SplitName

_ARCHIVE = CifarArchive(
    name="cifar100",
    folder="cifar-100-python",
    archive="cifar-100-python.tar.gz",
    md5="eb9058c3a382ffc7106e4002c42a8d85",
    batches={"train": ("train",), "test": ("test",)},
    meta="meta",
    labels="fine_labels",
    classes="fine_label_names",
)


@dataclass(frozen=True)
class Cifar100(DataSet):
    """50,000 training and 10,000 test images.

    Attributes:
        root: the folder cifar-100-python, cifar-100-python.tar.gz, or the folder that holds either.
    """

    name: ClassVar[str] = "cifar100"
    augmentation: ClassVar[Augmentation] = Augmentation(crop=4, flip=True)

    root: str | None = None

    def load(self, split: SplitName) -> Split:
        """Read the split's batch."""
        return _ARCHIVE.read(self.root, split)
