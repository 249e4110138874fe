import math

import numpy as np
import pytest
import torch

from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS
from robusteval.data import DATA

RIPPLE = CORRUPTIONS.parse("ripple")
RNG = Stream.seeded(0)
AMPLITUDES = (0.01375, 0.015, 0.01625, 0.01875, 0.02)  # of the side


def rippled(image: np.ndarray, sample: int, severity: int) -> np.ndarray:
    """The original's rule, pixel by pixel, on the numbers that the module draws; not cut to levels."""
    side, ids = max(image.shape), torch.tensor([sample])
    waves = []
    for axis in (2, 3):
        rng = RNG.stream("corruption", "ripple", severity).stream(axis)
        share, turn = (rng.stream(name).uniform(ids, (), dtype=torch.float64).item() for name in ("length", "phase"))
        waves.append((side * (0.1 + 0.2 * share), math.tau * turn))
    out = np.zeros(image.shape)
    for place in np.ndindex(*image.shape):
        source = [
            point + AMPLITUDES[severity - 1] * side * math.sin(2 * math.pi * point / length + phase)
            for point, (length, phase) in zip(place, waves, strict=True)
        ]
        y, x = (math.floor(each) for each in source)
        for down, right in np.ndindex(2, 2):
            if 0 <= y + down < image.shape[0] and 0 <= x + right < image.shape[1]:
                share = (1 - abs(source[0] - y - down)) * (1 - abs(source[1] - x - right))
                out[place] += share * image[y + down, x + right]
    return out


@pytest.mark.parametrize("severity", range(1, 6))
@pytest.mark.parametrize("size", [(28, 28), (8, 8), (20, 9)])
def test_it_is_the_originals_rule(severity, size):
    clothes = DATA.parse("fashion-mnist").split("test").first(6).batch()
    images = clothes.x[..., 4 : 4 + size[0], 4 : 4 + size[1]]
    found = RIPPLE(images, severity, clothes.ids, RNG).mul(255).round().numpy()
    for row, sample in enumerate(clothes.ids.tolist()):
        exact = rippled(images[row, 0].mul(255).round().double().numpy(), sample, severity)
        near = np.abs(exact - np.rint(exact)) < 1e-9
        assert ((found[row, 0] == np.floor(exact)) | (near & (np.abs(found[row, 0] - exact) < 1.01))).all()


def test_the_constants_are_the_originals():
    assert RIPPLE.families == {"cifar10-c-bar": (5.5, 6.0, 6.5, 7.5, 8.0)}


def test_channels_move_alike_and_only_edges_are_black():
    white = RIPPLE(torch.ones(50, 3, 32, 32), 5, torch.arange(50), RNG)
    assert torch.equal(white[:, :1].expand_as(white), white)
    assert (white[..., 1:-1, 1:-1] > 0.99).all()
    assert white[:, :, 0].min() < 0.5


def test_pixels_move_further_at_each_severity():
    slope = (torch.arange(32) * 8.0 / 255).expand(200, 3, 32, 32)
    inner = slope[..., 2:-2, 2:-2]
    moved = [RIPPLE(slope, each, torch.arange(200), RNG)[..., 2:-2, 2:-2] - inner for each in range(1, 6)]
    reach = [change.double().square().mean().item() for change in moved]
    assert reach == sorted(set(reach))
    for amplitude, change in zip(AMPLITUDES, moved, strict=True):
        assert change.abs().max() * 255 <= 8 * 32 * amplitude + 1
