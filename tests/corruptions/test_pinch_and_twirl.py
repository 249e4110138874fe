import math

import numpy as np
import pytest
import torch

from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS

TWIRL = CORRUPTIONS.parse("pinch-and-twirl")
RNG = Stream.seeded(0)
LEVELS = (5.5, 6.0, 6.5, 8.5, 10.0)


def read(image: np.ndarray, row: float, column: float) -> np.ndarray:
    total = np.zeros(image.shape[2])
    for y, x in np.ndindex(2, 2):
        y, x = y + math.floor(row), x + math.floor(column)
        if 0 <= y < image.shape[0] and 0 <= x < image.shape[1]:
            total += (1 - abs(row - y)) * (1 - abs(column - x)) * image[y, x]
    return total


def source(offset: tuple[float, float], radius: float, pinch: float, angle: float) -> tuple[float, float]:
    """Where a pixel of a disc comes from, as an offset from the middle."""
    distance = math.hypot(*offset) / radius
    if not 0 < distance < 1:
        return offset
    stretch, turn = math.sin(math.pi / 2 * distance) ** -pinch, angle * (1 - distance) ** 2
    down, right = (stretch * each for each in offset)
    return down * math.cos(turn) - right * math.sin(turn), down * math.sin(turn) + right * math.cos(turn)


def twirled(image: np.ndarray, sample: int, severity: int) -> np.ndarray:
    """The original's rule, disc after disc in one image, on the numbers that the module draws; not cut to levels."""
    level, size = LEVELS[severity - 1], len(image) // 3
    rng = RNG.stream("corruption", "pinch-and-twirl", severity)
    angles = level * math.pi / 20 * (2 * rng.integers(torch.tensor([sample]), (3, 3), 0, 2)[0].numpy() - 1)
    image, radius = image.astype(np.float64), size / 2
    for j, i in np.ndindex(3, 3):
        disc = np.zeros((size, size, 3))
        for y, x in np.ndindex(size, size):
            down, right = source((y - radius, x - radius), radius, 0.04 * level + 0.1, angles[i, j])
            disc[y, x] = read(image, i * size + radius + down, j * size + radius + right)
        image[i * size : (i + 1) * size, j * size : (j + 1) * size] = disc
    return image


@pytest.mark.parametrize("severity", range(1, 6))
@pytest.mark.parametrize("side", [32, 28, 8])
def test_it_is_the_originals_rule(severity, side, shared_data):
    images = np.load(shared_data / "cifar10-slice.npz")["test_images"][:4, :side, :side]
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    found = TWIRL(x, severity, torch.arange(4), RNG).mul(255).round().permute(0, 2, 3, 1).numpy()
    for row in range(4):
        exact = twirled(images[row], row, severity)
        near = np.abs(exact - np.rint(exact)) < 1e-3  # the original works in float32
        assert ((found[row] == np.floor(exact)) | (near & (np.abs(found[row] - exact) < 1.01))).all()
        assert (near & (exact != np.rint(exact))).mean() < 0.1


def test_the_constants_are_the_originals():
    assert TWIRL.families == {"cifar10-c-bar": LEVELS}


def test_what_is_outside_the_discs_is_kept():
    levels = torch.randint(0, 256, (50, 3, 32, 32), generator=torch.Generator().manual_seed(0)).float() / 255
    found = TWIRL(levels, 5, torch.arange(50), RNG)
    place = torch.arange(32)
    offset = (place - (place // 10 * 10 + 5)).double()
    kept = torch.hypot(offset[:, None], offset) >= 5
    kept |= (place[:, None] >= 30) | (place >= 30)
    # The middle of a disc stays too.
    kept |= torch.hypot(offset[:, None], offset) == 0
    assert torch.equal(found[..., kept], levels[..., kept])
    assert (found[..., ~kept] != levels[..., ~kept]).double().mean() > 0.8


def test_discs_turn_to_either_side():
    slope = (torch.arange(32) * 8.0 / 255).expand(100, 3, 32, 32)
    # Above the middle of a disc a turn moves a pixel to the left or to the right.
    change = (TWIRL(slope, 5, torch.arange(100), RNG) - slope)[:, 0, 3::10, 5:26:10]
    assert 0.4 < (change > 0).double().mean() < 0.6
    assert (change.abs() > 4 / 255).all()
