import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS
from robusteval.data import DATA

ZIGZAG = CORRUPTIONS.parse("zigzag")
RNG = Stream.seeded(0)


def corners(rise: int, span: int) -> list[tuple[float, float]]:
    """The corners of MNIST-C's zigzag before it is turned, with quarter periods and peaks of 2 pixels."""
    length = math.hypot(rise, span)
    whole = int((length - 2) // 4) + 1
    places = [(0.0, 0.0)] + [(4.0 * corner + 2, 2.0 * (-1) ** corner) for corner in range(whole)]
    left = length - 4 * (length // 4)
    if left:
        places.append((length, places[-1][1] / (2 * left)))
    return places


def original(first: int, rise: int, size: int = 28) -> np.ndarray:
    """The zigzag from row `first` to row `first + rise`, each pixel the sum of the strokes that reach it."""
    span = size - 5
    theta = math.atan(rise / span)
    turned = [
        (2 + a * math.cos(theta) - b * math.sin(theta), first + a * math.sin(theta) + b * math.cos(theta))
        for a, b in corners(rise, span)
    ]
    total = np.zeros((size, size))
    for (c0, r0), (c1, r1) in pairwise(turned):
        for column in range(math.floor(c0), min(math.ceil(c1), size)):
            distance = np.abs(np.arange(size) - (r0 + (r1 - r0) / (c1 - c0) * (column - c0))).clip(0, 2.3 - 1e-10)
            total[:, column] += (1 + np.log(1 - distance / 2.3)).clip(0, 1)
    return total


def test_every_zigzag_is_one_of_the_originals_and_all_are_used():
    levels = {
        np.round(np.float32(original(first, rise).clip(0, 1) * 255)).tobytes(): (first, rise)
        for first in range(27)
        for rise in range(-5, 5)
    }
    assert len(levels) == 270
    found = ZIGZAG(torch.zeros(3000, 1, 28, 28), 1, torch.arange(3000), RNG).mul(255).round()[:, 0].numpy()
    drawn = [levels[image.tobytes()] for image in found]
    assert set(drawn) == set(levels.values())
    assert np.abs(np.mean(drawn, axis=0) - [13, -0.5]).max() < 0.6


def test_the_zigzag_is_added_to_the_image():
    clothes = DATA.parse("fashion-mnist").split("test").first(20).batch()
    found = ZIGZAG(clothes.x, 1, clothes.ids, RNG).mul(255).round()[:, 0].numpy()
    lines = np.stack([original(first, rise) for first in range(27) for rise in range(-5, 5)])
    for before, after in zip(clothes.x.mul(255).round()[:, 0].double().numpy(), found, strict=True):
        exact = np.round(np.float32((before / 255.0 + lines).clip(0, 1) * 255))
        assert (np.abs(exact - after).max(axis=(1, 2)) <= 1).sum() == 1
        assert ((exact == after).mean(axis=(1, 2))).max() > 0.998


def test_corners_by_hand():
    assert corners(0, 23) == [
        (0, 0),
        (2, 2),
        (6, -2),
        (10, 2),
        (14, -2),
        (18, 2),
        (22, -2),
        (23, pytest.approx(-1 / 3)),
    ]


@pytest.mark.parametrize("size", [16, 22, 64])
def test_other_sizes_follow_the_same_rule(size):
    levels = {
        np.round(np.float32(original(first, rise, size).clip(0, 1) * 255)).tobytes()
        for first in range(size - 1)
        for rise in range(-5, 5)
    }
    found = ZIGZAG(torch.zeros(100, 1, size, size), 1, torch.arange(100), RNG).mul(255).round()[:, 0].numpy()
    assert all(image.tobytes() in levels for image in found)
