import io

import numpy as np
import pytest
import torch
from PIL import Image

from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS

imagecorruptions = pytest.importorskip("imagecorruptions")
RNG = Stream.seeded(0)
CONSTANTS = {
    "cifar": (80, 65, 58, 50, 40),
    "tiny-imagenet": (65, 58, 50, 40, 25),
    "imagenet": (25, 18, 15, 10, 7),
}


@pytest.fixture(scope="module")
def photographs(shared_data) -> np.ndarray:
    """CIFAR-10 images [200, 32, 32, 3] of bytes."""
    with np.load(shared_data / "cifar10-slice.npz") as arrays:
        return arrays["test_images"][:200]


def corrupted(images: np.ndarray, severity: int, family: str) -> np.ndarray:
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    found = CORRUPTIONS.parse(f"jpeg-compression(family={family!r})")(x, severity, torch.arange(len(x)), RNG)
    return found.mul(255).round().permute(0, 2, 3, 1).byte().numpy()


def test_constants_are_the_originals():
    families = CORRUPTIONS.classes["jpeg-compression"].families
    assert {family: families[family] for family in CONSTANTS} == CONSTANTS


@pytest.mark.parametrize("severity", range(1, 6))
def test_imagenet_is_imagecorruptions_byte_by_byte(photographs, severity):
    expected = np.stack([imagecorruptions.corrupt(image, severity, "jpeg_compression") for image in photographs])
    assert (corrupted(photographs, severity, "imagenet") == expected).all()


@pytest.mark.parametrize("family", ["cifar", "tiny-imagenet"])
@pytest.mark.parametrize("size", [(8, 8), (28, 28), (33, 47)])
def test_smaller_families_are_pillows_codec_byte_by_byte(family, size):
    image = np.random.default_rng(0).integers(0, 256, (1, *size, 3), dtype=np.uint8)
    for severity, quality in enumerate(CONSTANTS[family], start=1):
        file = io.BytesIO()
        Image.fromarray(image[0]).save(file, "JPEG", quality=quality)
        assert (corrupted(image, severity, family)[0] == np.asarray(Image.open(file))).all()


def test_every_level_survives_the_cut_to_bytes():
    levels = torch.arange(256, dtype=torch.float64)
    assert torch.equal((levels / 255 * 255).floor(), levels)
