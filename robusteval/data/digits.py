"""Digits: 1,797 scans of handwritten digits, 8x8 pixels of 17 grey levels (Alpaydin and Kaynak, 1998, UCI).

They come inside scikit-learn and have no official split: a fixed fifth, with the classes in proportion, is the test.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from robusteval.data.dataset import Augmentation, DataSet, Split, SplitName

_TEST = 359


@dataclass(frozen=True)
class Digits(DataSet):
    """1,438 training and 359 test images; an id is the position in scikit-learn's array."""

    name: ClassVar[str] = "digits"
    augmentation: ClassVar[Augmentation] = Augmentation(crop=1)

    def load(self, split: SplitName) -> Split:
        """Read all scans and take the split's."""
        from sklearn.datasets import load_digits  # heavy, and needed for this data set only

        scans = load_digits()
        levels = np.rint(scans.images * (255 / 16)).astype(np.uint8)
        both = Split.of(torch.from_numpy(levels)[:, None], torch.from_numpy(scans.target))
        test = both.stratified(_TEST, seed=0)
        return test if split == "test" else both.rows(~torch.isin(both.ids, test.ids))
