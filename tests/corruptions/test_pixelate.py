import numpy as np
import pytest
import torch
from PIL import Image

from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS

imagecorruptions = pytest.importorskip("imagecorruptions")
RNG = Stream.seeded(0)
CONSTANTS = {
    "cifar": (0.95, 0.9, 0.85, 0.75, 0.65),
    "tiny-imagenet": (0.9, 0.8, 0.7, 0.6, 0.5),
    "imagenet": (0.6, 0.5, 0.4, 0.3, 0.25),
}


@pytest.fixture(scope="module")
def photographs(shared_data) -> np.ndarray:
    """CIFAR-10 images [500, 32, 32, 3] of bytes."""
    with np.load(shared_data / "cifar10-slice.npz") as arrays:
        return arrays["test_images"][:500]


def corrupted(images: np.ndarray, severity: int, family: str) -> np.ndarray:
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    found = CORRUPTIONS.parse(f"pixelate(family={family!r})")(x, severity, torch.arange(len(x)), RNG)
    return found.mul(255).round().permute(0, 2, 3, 1).byte().numpy()


def test_constants_are_the_originals():
    families = CORRUPTIONS.classes["pixelate"].families
    assert {family: families[family] for family in CONSTANTS} == CONSTANTS


@pytest.mark.parametrize("severity", range(1, 6))
def test_imagenet_is_imagecorruptions_byte_by_byte(photographs, severity):
    expected = np.stack([imagecorruptions.corrupt(image, severity, "pixelate") for image in photographs])
    assert (corrupted(photographs, severity, "imagenet") == expected).all()


def original(image: np.ndarray, share: float, back: Image.Resampling) -> np.ndarray:
    height, width = image.shape[:2]
    smaller = Image.fromarray(image).resize((int(width * share), int(height * share)), Image.Resampling.BOX)
    return np.asarray(smaller.resize((width, height), back))


@pytest.mark.parametrize("family", CONSTANTS)
@pytest.mark.parametrize("size", [(8, 8), (28, 28), (32, 32), (33, 47), (64, 64), (96, 224), (500, 375)])
def test_every_size_is_pillows_resize_byte_by_byte(family, size):
    image = np.random.default_rng(0).integers(0, 256, (1, *size, 3), dtype=np.uint8)
    back = Image.Resampling.NEAREST if family == "imagenet" else Image.Resampling.BOX
    for severity, share in enumerate(CONSTANTS[family], start=1):
        assert (corrupted(image, severity, family)[0] == original(image[0], share, back)).all()


def test_squares_of_four_pixels_become_their_mean_rounded_twice():
    image = np.zeros((1, 8, 8, 3), np.uint8)
    image[0, :2, :2] = np.array([[0, 1], [2, 2]])[..., None]  # rows of mean 0.5 and 2: 1 and 2, of mean 1.5: 2
    found = corrupted(image, 2, "imagenet")[0]
    assert (found[:2, :2] == 2).all()
    assert found.sum() == 24
