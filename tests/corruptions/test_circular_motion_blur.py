import numpy as np
import pytest
import torch
from scipy import ndimage

from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS

BLUR = CORRUPTIONS.parse("circular-motion-blur")
RNG = Stream.seeded(0)
DEGREES = (4.2, 5.4, 6.6, 7.8, 9.0)


@pytest.fixture(scope="module")
def images(shared_data) -> np.ndarray:
    return np.load(shared_data / "cifar10-slice.npz")["test_images"][:30]


def blurred(images: np.ndarray, severity: int) -> np.ndarray:
    x = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255
    found = BLUR(x, severity, torch.arange(len(x)), RNG).mul(255).round()
    return found.permute(0, 2, 3, 1).numpy()


def by_scipy(image: np.ndarray, severity: int) -> np.ndarray:
    """The weighted mean of turned images, not cut to levels."""
    steps = np.linspace(-1, 1, 21)
    turned = [ndimage.rotate(image.astype(float), step * DEGREES[severity - 1], reshape=False) for step in steps]
    return np.clip(np.average(turned, axis=0, weights=np.exp(-2 * steps**2)), 0, 255)


@pytest.mark.parametrize("severity", range(1, 6))
def test_it_is_the_mean_of_scipys_rotations(severity, images):
    found = blurred(images, severity)
    exact = np.stack([by_scipy(image, severity) for image in images])
    assert (np.abs(found - np.floor(exact)) <= 1).all()
    assert (found == np.floor(exact)).mean() > 0.998


@pytest.mark.parametrize("size", [(28, 28), (8, 8), (20, 13)])
def test_other_sizes(size, images):
    cut = images[:5, : size[0], : size[1]]
    exact = np.stack([by_scipy(image, 5) for image in cut])
    assert (np.abs(blurred(cut, 5) - np.floor(exact)) <= 1).all()


def test_the_constants_are_the_originals():
    assert BLUR.families == {"cifar10-c-bar": (2.8, 3.6, 4.4, 5.2, 6.0)}


def test_the_same_for_every_id_and_darker_in_the_corners():
    white = torch.ones(3, 3, 32, 32)
    found = BLUR(white, 5, torch.tensor([4, 9, 100]), RNG)
    assert torch.equal(found[0], found[1])
    assert torch.equal(BLUR(white, 5, torch.arange(3), Stream.seeded(7)), found)
    assert found[0, 0, 16, 16] >= 254 / 255
    assert found[0, 0, 0, 0] < 0.7


def test_the_same_bits_in_any_batch():
    x = torch.randint(0, 256, (512, 3, 32, 32), generator=torch.Generator().manual_seed(0)).float() / 255
    whole = BLUR(x, 3, torch.arange(512), RNG)
    assert torch.equal(BLUR(x[300:301], 3, torch.tensor([300]), RNG), whole[300:301])
