import numpy as np
import torch

from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS
from robusteval.data import DATA


def test_each_image_is_moved_by_three_pixels_along_both_axes():
    clothes = DATA.parse("fashion-mnist").split("test").first(200).batch()
    found = CORRUPTIONS.parse("translate")(clothes.x, 1, clothes.ids, Stream.seeded(0))
    counts = np.zeros((2, 2), int)
    for before, after in zip(clothes.x[:, 0], found[:, 0], strict=True):
        framed = torch.zeros(34, 34)
        framed[3:31, 3:31] = before
        matches = [
            (down, right)
            for down, right in np.ndindex(2, 2)
            if torch.equal(framed[6 * down : 6 * down + 28, 6 * right : 6 * right + 28], after)
        ]
        assert len(matches) == 1
        counts[matches[0]] += 1
    assert counts.min() > 25
