"""Two views: every image beside one of a paired class (Chidambaram et al., 2023, arXiv:2210.13512).

Both halves of the channels tell the label in training, and the test shows one of them: a model that learned one view
alone, as plain training does in the paper's theory, is poor on the other.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from robusteval.core.errors import DataError, require
from robusteval.core.rng import Stream
from robusteval.data.dataset import Augmentation, DataSet, Split, SplitName


@dataclass(frozen=True)
class TwoViews(DataSet):
    """The channels [w x, (1 - w) x'] of an image x and a random image x' of the class that is paired with x's.

    x' belongs to x for good; w is drawn from U(0, 1) whenever the image is trained on. Stored are x/2 and x'/2, the
    images at w = 1/2, which is what everything sees that does not augment: a validation part, a training part that is
    evaluated, the moments of the normalisation. Bytes are halved with the last bit cut. The original zeroes the other
    view after normalisation, so that it is the mean image; here it is black.

    Attributes:
        data: the spec of a data set with an even number of classes.
        view: what test images show: [x, 0], as in the paper, [0, x'], or [x/2, x'/2].
        seed: of the pairs, of classes and of images.
    """

    name: ClassVar[str] = "two-views"
    augmentation: ClassVar[Augmentation] = Augmentation(views=True)

    data: str = "digits"
    view: Literal["first", "second", "both"] = "first"
    seed: int = 0

    def load(self, split: SplitName) -> Split:
        """Read the data set's split and put the second images beside the first."""
        from robusteval.data import DATA  # the registry is of a package that imports this module

        whole = DATA.parse(self.data).split(split)
        first, second = whole.images, whole.images[self._seconds(whole, split)]
        view = "both" if split == "train" else self.view
        if view == "both":
            first, second = _halved(first), _halved(second)
        elif view == "first":
            second = torch.zeros_like(second)
        else:
            first = torch.zeros_like(first)
        return Split.of(torch.cat([first, second], dim=1), whole.labels, whole.classes, whole.ids)

    def partners(self, classes: int) -> Tensor:
        """The class that each class is paired with, [classes]; the same for both splits."""
        rule = f"must have an even number of classes, to pair them, not {classes}"
        require(classes % 2 == 0, "data", rule, self.data)
        order = self._rng.stream("classes").permutation(torch.zeros(1, dtype=torch.int64), classes)[0]
        partners = torch.empty_like(order)
        partners[order[0::2]], partners[order[1::2]] = order[1::2], order[0::2]
        return partners

    def _seconds(self, whole: Split, split: SplitName) -> Tensor:
        """The row of the second image of each sample, [n]."""
        wanted = self.partners(len(whole.classes))[whole.labels]
        counts = torch.bincount(whole.labels, minlength=len(whole.classes))
        if not counts[wanted].all():
            raise DataError(f"data={self.data!r}: a class of the {split} split has no image to pair another with")
        rank = self._rng.stream("images", split).integers(whole.ids, (), 0, 2**62) % counts[wanted]
        return whole.labels.argsort(stable=True)[counts.cumsum(0)[wanted] - 1 - rank]

    @property
    def _rng(self) -> Stream:
        return Stream.seeded(self.seed).stream(self.name)


def _halved(images: Tensor) -> Tensor:
    return images // 2 if images.dtype == torch.uint8 else images / 2
