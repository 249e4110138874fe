import warnings

import numpy as np
import pytest
import torch

from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS

# make_cifar_c.py, make_tinyimagenet_c.py and imagecorruptions, severity 1 to 5
CONSTANTS = {
    "cifar": ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
    "tiny-imagenet": ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (30, 0.2)),
    "imagenet": ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
}


def images() -> torch.Tensor:
    """Noise, with a quarter of the images grey."""
    levels = torch.randint(0, 256, (64, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    levels[48:] = levels[48:, :1]
    return levels


def saturated(levels: torch.Tensor, severity: int, family: str = "imagenet") -> np.ndarray:
    saturate = CORRUPTIONS.parse(f"saturate(family={family!r})")
    found = saturate(levels.float() / 255, severity, torch.arange(len(levels)), Stream.seeded(0))
    return found.mul(255).round().permute(0, 2, 3, 1).numpy()


def original(image: np.ndarray, factor: float, added: float) -> np.ndarray:
    """The formula of all the generators, for one image [h, w, 3] of bytes."""
    color = pytest.importorskip("skimage.color")
    hsv = color.rgb2hsv(image / 255.0)
    hsv[..., 1] = np.clip(hsv[..., 1] * factor + added, 0, 1)
    return np.uint8(np.clip(color.hsv2rgb(hsv), 0, 1) * 255)


def test_the_constants_are_the_originals():
    assert CORRUPTIONS.classes["saturate"].families == CONSTANTS


@pytest.mark.parametrize("severity", range(1, 6))
def test_equals_the_package_byte_by_byte(severity):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package = pytest.importorskip("imagecorruptions")
        last = images().permute(0, 2, 3, 1).contiguous().numpy()
        expected = np.stack([package.corrupt(image, severity, "saturate") for image in last])
    assert (saturated(images(), severity) == expected).all()


@pytest.mark.parametrize("family", ["cifar", "tiny-imagenet"])
@pytest.mark.parametrize("severity", range(1, 6))
def test_equals_the_formula_byte_by_byte(family, severity):
    last = images().permute(0, 2, 3, 1).contiguous().numpy()
    expected = np.stack([original(image, *CONSTANTS[family][severity - 1]) for image in last])
    assert (saturated(images(), severity, family) == expected).all()


def test_known_colours():
    levels = torch.tensor([200, 150, 100], dtype=torch.uint8)[None, :, None, None].repeat(1, 1, 8, 8)
    assert saturated(levels, 3)[0, 0, 0].tolist() == pytest.approx([200, 100, 0], abs=1)
    assert saturated(levels, 1)[0, 0, 0].tolist() == pytest.approx([200, 185, 170], abs=1)


def test_grey_is_tinted_red_by_the_highest_severities_alone():
    levels = torch.full((1, 3, 8, 8), 100, dtype=torch.uint8)
    assert [saturated(levels, severity)[0, 0, 0].tolist() for severity in (1, 2, 3)] == [[100, 100, 100]] * 3
    assert saturated(levels, 4)[0, 0, 0].tolist() == [100, 90, 90]
    assert saturated(levels, 5)[0, 0, 0].tolist() == [100, 80, 80]
