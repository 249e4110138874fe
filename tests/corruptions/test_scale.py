import numpy as np
import torch
from scipy import ndimage

from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS
from robusteval.data import DATA

SCALE = CORRUPTIONS.parse("scale")


def test_each_image_is_the_originals():
    clothes = DATA.parse("fashion-mnist").split("test").first(100).batch()
    found = SCALE(clothes.x, 1, clothes.ids, Stream.seeded(0)).mul(255).round()[:, 0].numpy()
    step = 1 / 0.7
    offset = [13.5 * (1 - step)] * 2
    same = []
    for before, after in zip(clothes.x.mul(255).round()[:, 0].double().numpy(), found, strict=True):
        warped = ndimage.affine_transform(before / 255.0, [step, step], offset, order=1, mode="grid-constant")
        exact = np.round(np.float32(warped.clip(0, 1) * 255))
        assert np.abs(exact - after).max() <= 1
        same.append((exact == after).mean())
    assert np.mean(same) > 0.9999


def test_a_white_image_keeps_seven_tenths_of_each_side():
    found = SCALE(torch.ones(1, 1, 100, 100), 1, torch.tensor([0]), Stream.seeded(0))[0, 0]
    assert found[50].sum().item() == found[:, 50].sum().item()
    assert abs(found[50].sum().item() - 70) < 0.5
    assert found[:14].max() == found[:, 86:].max() == 0
