import pytest
import torch

from robusteval.corruptions.bilinear import bordered, taps


def test_reading_between_pixels_and_outside():
    line = bordered(torch.tensor([10.0, 20.0, 50.0], dtype=torch.float64).view(1, 1, 1, 3))[0, 0, 1]
    assert line.tolist() == [0, 10, 20, 50, 0]
    place = torch.tensor([0.0, 2.0, 0.25, 1.5, -0.5, 2.5, -1.0, 3.0, -7.5, 12.0], dtype=torch.float64)
    (before, share), (after, other) = taps(place, 3)
    read = line[before] * share + line[after] * other
    assert read.tolist() == pytest.approx([10, 50, 12.5, 35, 5, 25, 0, 0, 0, 0])
