import numpy as np
import pytest
import torch
from skimage.filters import gaussian

from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS

imagecorruptions = pytest.importorskip("imagecorruptions")
RNG = Stream.seeded(0)
CONSTANTS = {
    "cifar": (0.4, 0.6, 0.7, 0.8, 1),
    "tiny-imagenet": (0.5, 0.75, 1, 1.25, 1.5),
    "imagenet": (1, 2, 3, 4, 6),
}


@pytest.fixture(scope="module")
def photographs(shared_data) -> np.ndarray:
    """CIFAR-10 images [200, 32, 32, 3] of bytes."""
    with np.load(shared_data / "cifar10-slice.npz") as arrays:
        return arrays["test_images"][:200]


def corrupted(images: np.ndarray, severity: int, family: str) -> np.ndarray:
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    found = CORRUPTIONS.parse(f"gaussian-blur(family={family!r})")(x, severity, torch.arange(len(x)), RNG)
    return found.mul(255).round().permute(0, 2, 3, 1).byte().numpy()


def test_constants_are_the_originals():
    families = CORRUPTIONS.classes["gaussian-blur"].families
    assert {family: families[family] for family in CONSTANTS} == CONSTANTS


@pytest.mark.parametrize("severity", range(1, 6))
def test_imagenet_is_imagecorruptions(photographs, severity):
    expected = np.stack([imagecorruptions.corrupt(image, severity, "gaussian_blur") for image in photographs])
    away = np.abs(corrupted(photographs, severity, "imagenet").astype(int) - expected)
    assert (away <= 1).mean() >= 0.995
    assert (away == 0).mean() >= 0.999


@pytest.mark.parametrize("family", ["cifar", "tiny-imagenet"])
@pytest.mark.parametrize("severity", range(1, 6))
def test_smaller_families_are_the_originals_formula(photographs, severity, family):
    sigma = CONSTANTS[family][severity - 1]
    blurred = [gaussian(image / 255, sigma=sigma, channel_axis=-1) for image in photographs]
    expected = np.uint8(np.clip(blurred, 0, 1) * 255)
    assert (corrupted(photographs, severity, family) == expected).mean() >= 0.99


@pytest.mark.parametrize(("height", "width"), [(8, 8), (5, 40), (28, 28)])
def test_any_size_repeats_its_border(height, width):
    image = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), dtype=np.uint8)
    expected = np.uint8(np.clip(gaussian(image[0] / 255, sigma=6, channel_axis=-1), 0, 1) * 255)
    assert (np.abs(corrupted(image, 5, "imagenet")[0].astype(int) - expected) <= 1).all()


def test_an_even_surface_keeps_its_level():
    surfaces = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None, None, None], (256, 8, 9, 3)).copy()
    for severity in range(1, 6):
        assert (corrupted(surfaces, severity, "imagenet") == surfaces).all()


def test_a_spot_spreads_as_a_gaussian():
    image = np.zeros((1, 41, 41, 3), np.uint8)
    image[0, 20, 20] = 255
    curve = np.exp(-0.5 * np.arange(-8, 9) ** 2 / 4)
    curve /= curve.sum()
    found = corrupted(image, 2, "imagenet")[0, 12:29, 12:29, 0]
    assert (found == np.floor(255 * np.outer(curve, curve))).all()
