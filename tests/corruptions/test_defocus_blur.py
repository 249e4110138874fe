import numpy as np
import pytest
import torch

from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS

cv2 = pytest.importorskip("cv2")
imagecorruptions = pytest.importorskip("imagecorruptions")
RNG = Stream.seeded(0)
CONSTANTS = {
    "cifar": ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
    "tiny-imagenet": ((0.5, 0.6), (1, 0.1), (1.5, 0.1), (2.5, 0.01), (3, 0.1)),
    "imagenet": ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
}


@pytest.fixture(scope="module")
def photographs(shared_data) -> np.ndarray:
    """CIFAR-10 images [200, 32, 32, 3] of bytes."""
    with np.load(shared_data / "cifar10-slice.npz") as arrays:
        return arrays["test_images"][:200]


def corrupted(images: np.ndarray, severity: int, family: str) -> np.ndarray:
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    found = CORRUPTIONS.parse(f"defocus-blur(family={family!r})")(x, severity, torch.arange(len(x)), RNG)
    return found.mul(255).round().permute(0, 2, 3, 1).byte().numpy()


def test_constants_are_the_originals():
    families = CORRUPTIONS.classes["defocus-blur"].families
    assert {family: families[family] for family in CONSTANTS} == CONSTANTS


@pytest.mark.parametrize("severity", range(1, 6))
def test_imagenet_is_imagecorruptions(photographs, severity):
    expected = np.stack([imagecorruptions.corrupt(image, severity, "defocus_blur") for image in photographs])
    away = np.abs(corrupted(photographs, severity, "imagenet").astype(int) - expected)
    assert (away <= 1).mean() >= 0.995
    assert (away == 0).mean() >= 0.995


def original(image: np.ndarray, constants: tuple[float, float]) -> np.ndarray:
    kernel = imagecorruptions.corruptions.disk(*constants)
    return np.uint8(np.clip(cv2.filter2D(image / 255.0, -1, kernel), 0, 1) * 255)


@pytest.mark.parametrize("family", ["cifar", "tiny-imagenet"])
@pytest.mark.parametrize("severity", range(1, 6))
def test_smaller_families_are_the_originals_formula(photographs, severity, family):
    expected = np.stack([original(image, CONSTANTS[family][severity - 1]) for image in photographs])
    assert (corrupted(photographs, severity, family) == expected).mean() >= 0.99


@pytest.mark.parametrize(("height", "width"), [(8, 8), (5, 40), (28, 28), (100, 130)])
@pytest.mark.parametrize("severity", [4, 5])
def test_any_size_mirrors_its_border(height, width, severity):
    image = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), dtype=np.uint8)
    expected = original(image[0], CONSTANTS["imagenet"][severity - 1])
    assert (np.abs(corrupted(image, severity, "imagenet")[0].astype(int) - expected) <= 1).all()


def test_a_spot_becomes_a_disk():
    image = np.zeros((1, 21, 21, 3), np.uint8)
    image[0, 10, 10] = 255
    found = corrupted(image, 1, "imagenet")[0, :, :, 0]
    down, right = np.indices((21, 21)) - 10
    assert ((found > 0) == (down**2 + right**2 <= 9)).all()
    assert set(found[found > 0]) == {255 // 29}


def test_the_largest_disks_brighten_as_the_originals_do():
    surface = np.full((1, 32, 32, 3), 200, np.uint8)
    assert [corrupted(surface, severity, "imagenet").mean() for severity in (4, 5)] == [202, 202]
