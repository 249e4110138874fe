import math

import numpy as np
import torch
from scipy import ndimage

from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS
from robusteval.data import DATA

CLOTHES = DATA.parse("fashion-mnist").split("test").first(100).batch()
FOUND = CORRUPTIONS.parse("rotate")(CLOTHES.x, 1, CLOTHES.ids, Stream.seeded(0)).mul(255).round()[:, 0].numpy()


def original(levels: np.ndarray, angle: float) -> np.ndarray:
    """scikit-image's rotation about the centre, rows first for scipy."""
    a1, a2, b1, b2 = math.cos(angle), -math.sin(angle), math.sin(angle), math.cos(angle)
    offset = [13.5 * (1 - b1 - b2), 13.5 * (1 - a1 - a2)]
    warped = ndimage.affine_transform(levels / 255.0, [[b2, b1], [a2, a1]], offset, order=1, mode="grid-constant")
    return np.round(np.float32(warped.clip(0, 1) * 255))


def test_each_image_is_the_originals_in_one_of_two_directions():
    turned = []
    for before, after in zip(CLOTHES.x.mul(255).round()[:, 0].double().numpy(), FOUND, strict=True):
        same = [(original(before, angle) == after).mean() for angle in (0.4, -0.4)]
        assert max(same) > 0.998
        assert np.abs(original(before, (0.4, -0.4)[int(np.argmax(same))]) - after).max() <= 1
        turned.append(same[0] > same[1])
    assert 30 < sum(turned) < 70


def test_a_bar_through_the_middle_turns_by_the_angle():
    x = torch.zeros(8, 1, 29, 29)
    x[:, :, 14] = 1.0
    for image in CORRUPTIONS.parse("rotate")(x, 1, torch.arange(8), Stream.seeded(0))[:, 0].double():
        heights = (image * torch.arange(29)[:, None]).sum(dim=0) / image.sum(dim=0)
        slope = (heights[20] - heights[8]).item() / 12
        assert abs(abs(slope) - math.tan(0.4)) < 0.02
