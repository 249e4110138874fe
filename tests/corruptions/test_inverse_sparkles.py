import numpy as np
import pytest
import torch

from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS

INVERSE = CORRUPTIONS.parse("inverse-sparkles")
RNG = Stream.seeded(0)
EXPONENTS = (0.13, 0.195, 0.325, 0.585, 0.65)


def through_a_star(image: np.ndarray, sample: int, severity: int) -> np.ndarray:
    """The original's rule, pixel by pixel, on the numbers that the module draws; not cut to levels."""
    side, ids = len(image), torch.tensor([sample])
    rng = RNG.stream("corruption", "inverse-sparkles", severity)
    row, column = side * (0.25 + rng.stream("centre").uniform(ids, (2,), dtype=torch.float64)[0].numpy() / 2)
    rays = rng.stream("number").integers(ids, (), 50, 200).item()
    lengths = side / 4 * (1 + 0.25 * rng.stream("lengths").normal(ids, (199,))[0, :rays].double().numpy())
    out = np.zeros(image.shape)
    for y, x in np.ndindex(side, side):
        turn = (np.arctan2(x - column, y - row) + np.pi) / (2 * np.pi) * rays
        share, ray = turn % 1, int(turn)
        length = (1 - share) * lengths[ray % rays] + share * lengths[(ray + 1) % rays]
        fall = (length**2 / ((y - row) ** 2 + (x - column) ** 2 + 1e-4)) ** EXPONENTS[severity - 1]
        out[y, x] = 255 + min((1 - (share - 0.5) ** 2) * fall, 1) * (image[y, x].astype(float) - 255)
    return out


@pytest.mark.parametrize("severity", range(1, 6))
def test_it_is_the_originals_rule(severity, shared_data):
    images = np.load(shared_data / "cifar10-slice.npz")["test_images"][:4]
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    found = INVERSE(x, severity, torch.arange(4), RNG).mul(255).round().permute(0, 2, 3, 1).numpy()
    for row in range(4):
        exact = through_a_star(images[row], row, severity)
        whole = exact == np.rint(exact)
        near = (np.abs(exact - np.rint(exact)) < 1e-9) & ~whole
        assert ((found[row] == np.floor(exact)) | near).all()
        assert np.array_equal(found[row][whole], exact[whole])


def test_the_constants_are_the_originals():
    assert INVERSE.families == {"cifar10-c-bar": (1.0, 1.5, 2.5, 4.5, 5.0)}


def test_the_middle_is_seen_and_the_corners_are_white():
    levels = torch.randint(0, 200, (50, 3, 32, 32), generator=torch.Generator().manual_seed(0)).float() / 255
    found = INVERSE(levels, 5, torch.arange(50), RNG)
    assert (found >= levels).all()
    kept = (found == levels).all(dim=1)
    assert kept.flatten(1).any(dim=1).all()
    assert not kept[:, 0, 0].any()
    assert found[:, :, 0, 0].mean() > found[:, :, 16, 16].mean() + 0.1
    assert torch.equal(INVERSE(torch.ones(5, 3, 8, 8), 3, torch.arange(5), RNG), torch.ones(5, 3, 8, 8))


def test_less_is_seen_at_each_severity():
    black = torch.zeros(500, 1, 32, 32)
    means = [INVERSE(black, severity, torch.arange(500), RNG).mean().item() for severity in range(1, 6)]
    assert means == sorted(set(means))
