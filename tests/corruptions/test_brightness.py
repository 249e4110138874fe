import warnings

import numpy as np
import pytest
import torch

from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS
from robusteval.data import DATA

# make_cifar_c.py, make_tinyimagenet_c.py and imagecorruptions, severity 1 to 5
ADDED = {
    "cifar": (0.05, 0.1, 0.15, 0.2, 0.3),
    "tiny-imagenet": (0.1, 0.2, 0.3, 0.4, 0.5),
    "imagenet": (0.1, 0.2, 0.3, 0.4, 0.5),
}


def noise() -> torch.Tensor:
    return torch.randint(0, 256, (64, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def clothes() -> torch.Tensor:
    return torch.nn.functional.pad(DATA.parse("fashion-mnist").split("test").first(64).images, (2, 2, 2, 2)).repeat(
        1, 3, 1, 1
    )


def brightened(levels: torch.Tensor, severity: int, family: str = "imagenet") -> np.ndarray:
    brightness = CORRUPTIONS.parse(f"brightness(family={family!r})")
    found = brightness(levels.float() / 255, severity, torch.arange(len(levels)), Stream.seeded(0))
    return found.mul(255).round().permute(0, 2, 3, 1).numpy()


def original(image: np.ndarray, added: float) -> np.ndarray:
    """The formula of all the generators, for one image [h, w, 3] of bytes."""
    color = pytest.importorskip("skimage.color")
    hsv = color.rgb2hsv(image / 255.0)
    hsv[..., 2] = np.clip(hsv[..., 2] + added, 0, 1)
    return np.uint8(np.clip(color.hsv2rgb(hsv), 0, 1) * 255)


def test_the_constants_are_the_originals():
    assert CORRUPTIONS.classes["brightness"].families == ADDED | {"mnist-c": (0.5,)}


@pytest.mark.parametrize("images", [noise, clothes])
@pytest.mark.parametrize("severity", range(1, 6))
def test_equals_the_package_byte_by_byte(images, severity):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package = pytest.importorskip("imagecorruptions")
        last = images().permute(0, 2, 3, 1).contiguous().numpy()
        expected = np.stack([package.corrupt(image, severity, "brightness") for image in last])
    assert (brightened(images(), severity) == expected).all()


@pytest.mark.parametrize("family", ["cifar", "tiny-imagenet"])
@pytest.mark.parametrize("severity", range(1, 6))
def test_equals_the_formula_byte_by_byte(family, severity):
    last = noise().permute(0, 2, 3, 1).contiguous().numpy()
    expected = np.stack([original(image, ADDED[family][severity - 1]) for image in last])
    assert (brightened(noise(), severity, family) == expected).all()


def test_colours_keep_their_ratios_until_one_is_full():
    levels = torch.tensor([100, 50, 0], dtype=torch.uint8)[None, :, None, None].repeat(1, 1, 8, 8)
    assert brightened(levels, 2)[0, 0, 0].tolist() == [151, 75, 0]
    assert brightened(levels * 2, 5)[0, 0, 0].tolist() == [255, 127, 0]
    assert brightened(levels * 0, 2)[0, 0, 0].tolist() == [51, 51, 51]
