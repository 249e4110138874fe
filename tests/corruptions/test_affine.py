import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from robusteval.core.rng import Stream
from robusteval.corruptions.affine import about_centre, signs, warped

RNG = Stream.seeded(4)
IDENTITY = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]], dtype=torch.float64)


def scipy_warp(image: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """The warp in scipy's order of axes, which is rows first."""
    flipped = affine[::-1]
    return ndimage.affine_transform(image, flipped[:, 1::-1], flipped[:, 2], order=1, mode="grid-constant", cval=0)


@pytest.mark.parametrize("size", [(28, 28), (8, 8), (9, 14)])
def test_a_warp_is_scipys_with_black_outside(size):
    ids = torch.arange(20)
    x = RNG.uniform(ids, (3, *size), dtype=torch.float64)
    affine = RNG.stream("affine").uniform(ids, (2, 3), dtype=torch.float64) * 2 - 0.5
    affine[:, :, 2] *= 5
    found = warped(x, affine)
    for row in range(20):
        for channel in range(3):
            exact = scipy_warp(x[row, channel].numpy(), affine[row].numpy())
            assert found[row, channel].numpy() == pytest.approx(exact, abs=1e-12)


def test_a_warp_takes_source_columns_from_the_first_row():
    x = torch.arange(12.0, dtype=torch.float64).reshape(1, 1, 3, 4)
    assert torch.equal(warped(x, IDENTITY), x)
    moved = IDENTITY.clone()
    moved[0, :, 2] = torch.tensor([1.5, 1.0])
    assert warped(x, moved)[0, 0].tolist() == [[5.5, 6.5, 3.5, 0], [9.5, 10.5, 5.5, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize(("height", "width"), [(28, 28), (9, 14)])
def test_the_middle_stays(height, width):
    linear = torch.tensor([[[0.3, -0.7], [1.2, 0.4]], [[2.0, 0.0], [0.0, -1.0]]], dtype=torch.float64)
    middle = torch.tensor([(width - 1) / 2, (height - 1) / 2, 1.0], dtype=torch.float64)
    affine = about_centre(linear, height, width)
    assert torch.equal(affine[:, :, :2], linear)
    assert (affine @ middle).tolist() == [pytest.approx(middle[:2].tolist())] * 2


def test_the_middle_of_28_pixels_is_that_of_the_original():
    """The original's translation, which it writes down for a centre of 13.5 in both directions."""
    angle = 0.4
    linear = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    affine = about_centre(torch.from_numpy(linear)[None], 28, 28)[0]
    for row in range(2):
        assert affine[row, 2].item() == pytest.approx(13.5 * (1 - linear[row, 0] - linear[row, 1]))


def test_directions_are_fair_and_independent():
    drawn = signs(torch.arange(10_000), 2, RNG)
    assert set(drawn.flatten().tolist()) == {-1.0, 1.0}
    assert drawn.mean(dim=0).abs().max() < 0.04
    assert drawn.prod(dim=1).mean().abs() < 0.04
