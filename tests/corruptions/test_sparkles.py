import numpy as np
import pytest
import torch

from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS

SPARKLES = CORRUPTIONS.parse("sparkles")
RNG = Stream.seeded(0)
RADII = (0.007, 0.035, 0.056, 0.063, 0.07)  # of the side


def sparkling(image: np.ndarray, sample: int, severity: int) -> np.ndarray:
    """The original's rule, pixel by pixel, on the numbers that the module draws; not cut to levels."""
    side, ids, image = len(image), torch.tensor([sample]), image.astype(np.float64)
    for star in range(5):
        rng = RNG.stream("corruption", "sparkles", severity).stream(star)
        row, column = side * rng.stream("centre").uniform(ids, (2,), dtype=torch.float64)[0].numpy()
        rays = rng.stream("number").integers(ids, (), 50, 200).item()
        spread = rng.stream("lengths").normal(ids, (199,))[0, :rays].double().numpy()
        lengths = np.maximum(1, RADII[severity - 1] * side * (1 + 0.25 * spread))
        for y, x in np.ndindex(side, side):
            turn = (np.arctan2(x - column, y - row) + np.pi) / (2 * np.pi) * rays
            share, ray = turn % 1, int(turn)
            length = (1 - share) * lengths[ray % rays] + share * lengths[(ray + 1) % rays]
            bright = (1 - (share - 0.5) ** 2) * length**2 / ((y - row) ** 2 + (x - column) ** 2 + 1e-4)
            image[y, x] += min(bright, 1) * (255 - image[y, x])
    return image


@pytest.mark.parametrize("severity", range(1, 6))
def test_it_is_the_originals_rule(severity, shared_data):
    images = np.load(shared_data / "cifar10-slice.npz")["test_images"][:2]
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    found = SPARKLES(x, severity, torch.arange(2), RNG).mul(255).round().permute(0, 2, 3, 1).numpy()
    for row in range(2):
        exact = sparkling(images[row], row, severity)
        near = np.abs(exact - np.rint(exact)) < 1e-5  # the original keeps float32 from star to star
        assert ((found[row] == np.floor(exact)) | (near & (np.abs(found[row] - exact) < 1.01))).all()


def test_the_constants_are_the_originals():
    assert SPARKLES.families == {"cifar10-c-bar": (0.7, 3.5, 5.6, 6.3, 7.0)}


def test_white_stays_white_and_nothing_darkens():
    levels = torch.randint(0, 256, (50, 3, 32, 32), generator=torch.Generator().manual_seed(0)).float() / 255
    for severity in (1, 5):
        found = SPARKLES(levels, severity, torch.arange(50), RNG)
        assert (found >= levels).all()
        assert (found[levels == 1] == 1).all()


def test_black_gets_some_white_and_more_light_at_each_severity():
    black = torch.zeros(200, 3, 32, 32)
    lit = [SPARKLES(black, severity, torch.arange(200), RNG) for severity in range(1, 6)]
    means = [each.mean().item() for each in lit]
    assert means == sorted(set(means))
    assert (lit[-1].flatten(1).amax(dim=1) == 1).all()
