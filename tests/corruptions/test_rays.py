import math

import numpy as np
import pytest
import torch

from robusteval.core.rng import Stream
from robusteval.corruptions.rays import light, ray_lengths

RNG = Stream.seeded(0)


def test_light_by_hand():
    lengths = torch.tensor([[1.0, 3.0, 2.0, 4.0, 9.0]], dtype=torch.float64)
    four = light(torch.zeros(1, 2, dtype=torch.float64), torch.tensor([4]), lengths, 1.0, (9, 9))[0]
    # Rays 0 to 3 point up, left, down and right; ray 4 is not one of the four. On a ray the share is 0.
    assert four[8, 0].item() == pytest.approx(0.75 * 4 / 64.0001)
    assert four[0, 8].item() == pytest.approx(0.75 * 16 / 64.0001)
    # Half way from ray 2 to ray 3.
    assert four[8, 8].item() == pytest.approx(9 / 128.0001)
    assert four[0, 0] == four[1, 1] == 1
    exponents = light(torch.zeros(1, 2, dtype=torch.float64), torch.tensor([4]), lengths, 0.5, (9, 9))[0]
    assert exponents[8, 8].item() == pytest.approx(3 / math.sqrt(128.0001))


def test_the_last_ray_is_the_neighbour_of_the_first():
    lengths = torch.tensor([[2.0, 2.0, 2.0, 6.0]], dtype=torch.float64)
    found = light(torch.tensor([[20.0, 20.0]], dtype=torch.float64), torch.tensor([4]), lengths, 1.0, (40, 40))[0]
    # Up and to the right is half way from ray 3, to the right, to ray 0, up.
    assert found[10, 30].item() == pytest.approx(16 / 200.0001)
    assert found[30, 10].item() == pytest.approx(4 / 200.0001)


def test_lengths_and_numbers():
    number, lengths = ray_lengths(8.0, torch.arange(500), RNG)
    assert number.min() == 50
    assert number.max() == 199
    assert lengths.shape == (500, 199)
    assert lengths.mean().item() == pytest.approx(8, abs=4 * 2 / math.sqrt(lengths.numel()))
    assert lengths.std().item() == pytest.approx(2, rel=0.02)
    assert np.corrcoef(lengths[:, 0], lengths[:, 1])[0, 1] < 4 / math.sqrt(500)
