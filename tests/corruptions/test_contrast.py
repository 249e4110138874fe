import numpy as np
import pytest
import torch

from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS
from robusteval.data import DATA

REMAINING = (0.75, 0.5, 0.4, 0.3, 0.15)


def original(image: np.ndarray, severity: int) -> np.ndarray:
    """The function of make_cifar_c.py and its cast, for one image [h, w, 3] of bytes."""
    x = np.array(image) / 255.0
    means = np.mean(x, axis=(0, 1), keepdims=True)
    x = np.clip((x - means) * REMAINING[severity - 1] + means, 0, 1) * 255
    return np.uint8(x)


def noise() -> torch.Tensor:
    return torch.randint(0, 256, (64, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def clothes() -> torch.Tensor:
    return DATA.parse("fashion-mnist").split("test").first(64).images.repeat(1, 3, 1, 1)


@pytest.mark.parametrize("images", [noise, clothes])
@pytest.mark.parametrize("severity", range(1, 6))
def test_equals_the_original_byte_by_byte(images, severity):
    levels = images()
    expected = np.stack([original(image, severity) for image in levels.permute(0, 2, 3, 1).contiguous().numpy()])
    found = CORRUPTIONS.parse("contrast")(levels.float() / 255, severity, torch.arange(64), Stream.seeded(0))
    assert (found.mul(255).round().permute(0, 2, 3, 1).numpy() == expected).all()
