import numpy as np
import pytest
import torch
from scipy import ndimage

from robusteval.corruptions.splines import cubic_taps, operator, spline_operator, whole


def test_taps_by_hand():
    pixel, weight = cubic_taps(np.array([0.0, 1.5, 3.0]), 4)
    assert pixel.tolist() == [[1, 0, 1, 2], [0, 1, 2, 3], [2, 3, 2, 1]]
    assert weight[0] == pytest.approx(np.array([1, 4, 1, 0]) / 6)
    assert weight[1] == pytest.approx(np.array([1, 23, 23, 1]) / 48)


@pytest.mark.parametrize("size", [1, 2, 3, 8, 32])
def test_the_coefficients_are_scipys(size):
    line = np.random.default_rng(0).uniform(size=size)
    found = spline_operator(size) @ line
    # The recursion of scipy starts from a sum that it cuts off, which shows in short lines only.
    assert found == pytest.approx(ndimage.spline_filter1d(line, 3), abs=1e-9)


@pytest.mark.parametrize("size", [2, 9, 32])
def test_interpolation_is_scipys(size):
    line, place = np.random.default_rng(0).uniform(size=size), np.linspace(0, size - 1, 50)
    found = operator(cubic_taps(place, size), size) @ spline_operator(size) @ line
    assert found == pytest.approx(ndimage.map_coordinates(line, [place], order=3), abs=1e-9)


def test_whole_rows_add_up_to_one():
    found = whole(spline_operator(32))
    assert torch.equal(found.sum(dim=1), torch.ones(32, dtype=torch.float64))
    assert np.abs(found.numpy() - spline_operator(32)).max() < 2e-6
