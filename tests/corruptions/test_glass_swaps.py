import numpy as np
import pytest
import torch

from robusteval.core.rng import Stream
from robusteval.corruptions.glass_swaps import swap_sources

RNG = Stream.seeded(0)


@pytest.mark.parametrize(("height", "width"), [(28, 28), (5, 8), (8, 3)])
def test_the_sources_are_those_of_swapping_one_by_one(height, width):
    ids = torch.arange(30)
    place = torch.arange(height * width)
    up, left = RNG.integers(ids, (2, height * width), 0, 2).unbind(1)
    inner = (place // width > 0) & (place % width > 0)
    partners = torch.where(inner, place - up * width - left, place)
    found = swap_sources(partners, width)
    for row, source in zip(partners.tolist(), found.tolist(), strict=True):
        values = list(range(height * width))
        for here in reversed(values.copy()):
            values[here], values[row[here]] = values[row[here]], values[here]
        assert source == values


def test_swaps_lose_no_value():
    place = torch.arange(12)
    partners = torch.tensor([[0, 1, 2, 3, 4, 0, 5, 6, 8, 5, 5, 6]])
    assert np.array_equal(swap_sources(partners, 4).sort().values[0], place)


def test_no_swaps():
    place = torch.arange(12)[None]
    assert torch.equal(swap_sources(place, 4), place)
