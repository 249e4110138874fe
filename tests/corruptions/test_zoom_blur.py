import numpy as np
import pytest
import torch
from scipy import ndimage

from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS

imagecorruptions = pytest.importorskip("imagecorruptions")
RNG = Stream.seeded(0)
CONSTANTS = {
    "cifar": ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
    "tiny-imagenet": ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
    "imagenet": ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
}


@pytest.fixture(scope="module")
def photographs(shared_data) -> np.ndarray:
    """CIFAR-10 images [100, 32, 32, 3] of bytes."""
    with np.load(shared_data / "cifar10-slice.npz") as arrays:
        return arrays["test_images"][:100]


def corrupted(images: np.ndarray, severity: int, family: str) -> np.ndarray:
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    found = CORRUPTIONS.parse(f"zoom-blur(family={family!r})")(x, severity, torch.arange(len(x)), RNG)
    return found.mul(255).round().permute(0, 2, 3, 1).byte().numpy()


def test_constants_are_the_originals():
    families = CORRUPTIONS.classes["zoom-blur"].families
    assert {family: families[family] for family in CONSTANTS} == CONSTANTS


@pytest.mark.parametrize("severity", range(1, 6))
def test_imagenet_is_imagecorruptions(photographs, severity):
    expected = np.stack([imagecorruptions.corrupt(image, severity, "zoom_blur") for image in photographs])
    away = np.abs(corrupted(photographs, severity, "imagenet").astype(int) - expected)
    assert (away <= 1).mean() >= 0.995
    assert (away == 0).mean() >= 0.99


def original(image: np.ndarray, largest: float, step: float) -> np.ndarray:
    """The function of make_cifar_c.py for a square image of any size: the middle of each enlargement is kept."""
    x, size = (image / 255).astype(np.float32), len(image)
    factors = np.arange(1, largest, step)
    total = x.copy()
    for factor in factors:
        source = int(np.ceil(size / factor))
        first = (size - source) // 2
        part = x[first : first + source, first : first + source]
        enlarged = ndimage.zoom(part, (factor, factor, 1), order=1)
        start = (len(enlarged) - size) // 2
        total += enlarged[start : start + size, start : start + size]
    return np.uint8(np.clip(total / (len(factors) + 1), 0, 1) * 255)


@pytest.mark.parametrize("family", ["cifar", "tiny-imagenet"])
@pytest.mark.parametrize("severity", range(1, 6))
def test_smaller_families_are_the_originals_formula(photographs, severity, family):
    expected = np.stack([original(image, *CONSTANTS[family][severity - 1]) for image in photographs[:30]])
    away = np.abs(corrupted(photographs[:30], severity, family).astype(int) - expected)
    assert (away <= 1).all()
    assert (away == 0).mean() >= 0.99


@pytest.mark.parametrize("size", [8, 28, 64, 100])
def test_other_sizes_are_the_originals_formula(size):
    image = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), dtype=np.uint8)
    for severity in (1, 5):
        expected = original(image[0], *CONSTANTS["tiny-imagenet"][severity - 1])
        assert (np.abs(corrupted(image, severity, "tiny-imagenet")[0].astype(int) - expected) <= 1).all()


def test_an_image_that_is_not_square_is_imagecorruptions():
    image = np.random.default_rng(0).integers(0, 256, (1, 40, 67, 3), dtype=np.uint8)
    expected = imagecorruptions.corrupt(image[0], 4, "zoom_blur")
    assert (np.abs(corrupted(image, 4, "imagenet")[0].astype(int) - expected) <= 1).all()
