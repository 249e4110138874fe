import warnings

import numpy as np
import pytest
import torch

from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS
from robusteval.data import DATA

# make_cifar_c.py, make_tinyimagenet_c.py and imagecorruptions, severity 1 to 5
REMAINING = {
    "cifar": (0.75, 0.5, 0.4, 0.3, 0.15),
    "tiny-imagenet": (0.4, 0.3, 0.2, 0.1, 0.05),
    "imagenet": (0.4, 0.3, 0.2, 0.1, 0.05),
}


def original(image: np.ndarray, remaining: float) -> np.ndarray:
    """The function of the generators and its cast, for one image [h, w, 3] of bytes."""
    x = np.array(image) / 255.0
    means = np.mean(x, axis=(0, 1), keepdims=True)
    x = np.clip((x - means) * remaining + means, 0, 1) * 255
    return np.uint8(x)


def noise(side: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (64, 3, side, side), generator=generator, dtype=torch.uint8)


def large_noise() -> torch.Tensor:
    return noise(64)


def clothes() -> torch.Tensor:
    return DATA.parse("fashion-mnist").split("test").first(64).images.repeat(1, 3, 1, 1)


def lowered(levels: torch.Tensor, severity: int, family: str) -> np.ndarray:
    contrast = CORRUPTIONS.parse(f"contrast(family={family!r})")
    found = contrast(levels.float() / 255, severity, torch.arange(64), Stream.seeded(0))
    return found.mul(255).round().permute(0, 2, 3, 1).numpy()


def test_the_constants_are_the_originals():
    assert CORRUPTIONS.classes["contrast"].families == REMAINING


@pytest.mark.parametrize("family", REMAINING)
@pytest.mark.parametrize("images", [noise, large_noise, clothes])
@pytest.mark.parametrize("severity", range(1, 6))
def test_equals_the_original_byte_by_byte(images, severity, family):
    levels, remaining = images(), REMAINING[family][severity - 1]
    expected = np.stack([original(image, remaining) for image in levels.permute(0, 2, 3, 1).contiguous().numpy()])
    assert (lowered(levels, severity, family) == expected).all()


@pytest.mark.parametrize("severity", range(1, 6))
def test_equals_the_package_byte_by_byte(severity):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package = pytest.importorskip("imagecorruptions")
        last = noise().permute(0, 2, 3, 1).contiguous().numpy()
        expected = np.stack([package.corrupt(image, severity, "contrast") for image in last])
    assert (lowered(noise(), severity, "imagenet") == expected).all()
