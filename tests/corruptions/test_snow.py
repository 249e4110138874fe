import math
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS
from robusteval.corruptions.snow import smeared
from robusteval.data import DATA

RNG = Stream.seeded(0)
# make_cifar_c.py, make_tinyimagenet_c.py and imagecorruptions, severity 1 to 5
FLAKES = {
    "cifar": ((0.1, 0.2, 1, 0.6, 8, 3), (0.1, 0.2, 1, 0.5, 10, 4), (0.15, 0.3, 1.75, 0.55, 10, 4),
              (0.25, 0.3, 2.25, 0.6, 12, 6), (0.3, 0.3, 1.25, 0.65, 14, 12)),
    "imagenet": ((0.1, 0.3, 3, 0.5, 10, 4), (0.2, 0.3, 2, 0.5, 12, 4), (0.55, 0.3, 4, 0.9, 12, 8),
                 (0.55, 0.3, 4.5, 0.85, 12, 8), (0.55, 0.3, 2.5, 0.85, 12, 12)),
}  # fmt: skip
FLAKES["tiny-imagenet"] = FLAKES["cifar"]
KEPT = {
    "cifar": (0.95, 0.9, 0.9, 0.85, 0.8),
    "tiny-imagenet": (0.8, 0.8, 0.7, 0.65, 0.6),
    "imagenet": (0.8, 0.7, 0.7, 0.65, 0.55),
}


def colourful(count: int) -> torch.Tensor:
    """Images [n, 3, 32, 32] whose channels are three pieces of clothing."""
    x = torch.nn.functional.pad(DATA.parse("fashion-mnist").split("test").first(count).batch().x, (2, 2, 2, 2))
    return torch.cat([x, x.flip(3).roll(1, 0), x.roll(2, 0)], dim=1)


def levels(x: torch.Tensor) -> np.ndarray:
    return x.mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def drawn(sample: int, severity: int, side: int, family: str) -> tuple[np.ndarray, float]:
    """The noise that is enlarged, and the angle, of a sample."""
    mean, deviation, zoom = FLAKES[family][severity - 1][:3]
    rng, ids = RNG.stream("corruption", "snow", severity), torch.tensor([sample])
    noise = rng.normal(ids, (math.ceil(side / zoom),) * 2)[0].double().numpy() * deviation + mean
    return noise, rng.stream("angle").uniform(ids, dtype=torch.float64).item() * 90 - 135


def in_the_middle(noise: np.ndarray, side: int) -> np.ndarray:
    """A field of the image's size whose middle, all that clipped_zoom looks at, is the noise."""
    field, top = np.zeros((side, side)), (side - len(noise)) // 2
    field[top : top + len(noise), top : top + len(noise)] = noise
    return field


def test_the_constants_are_the_originals():
    for family, constants in CORRUPTIONS.classes["snow"].families.items():
        assert constants == tuple((*first, last) for first, last in zip(FLAKES[family], KEPT[family], strict=True))


@pytest.mark.parametrize("severity", range(1, 6))
def test_the_package_imagecorruptions_gives_the_same_for_the_same_numbers(severity):
    package = pytest.importorskip("imagecorruptions.corruptions")
    x, expected = colourful(20), []
    for sample, image in enumerate(levels(x)):
        noise, angle = drawn(sample, severity, 32, "imagenet")
        with (
            mock.patch.object(np.random, "normal", return_value=in_the_middle(noise, 32)),
            mock.patch.object(np.random, "uniform", return_value=angle),
        ):
            expected.append(np.uint8(package.snow(Image.fromarray(image), severity)))
    found = levels(CORRUPTIONS.parse("snow(family='imagenet')")(x, severity, torch.arange(20), RNG))
    apart = np.abs(found.astype(int) - np.stack(expected))
    assert (apart <= 1).mean() >= 0.995
    assert (apart == 0).mean() > 0.99


@pytest.mark.parametrize("family", ["cifar", "tiny-imagenet"])
@pytest.mark.parametrize("severity", range(1, 6))
def test_the_formula_of_the_generators(family, severity):
    """With the package's copy of ImageMagick's motion blur, rounded to bytes as ImageMagick does."""
    package = pytest.importorskip("imagecorruptions.corruptions")
    side = {"cifar": 32, "tiny-imagenet": 64}[family]
    x = torch.nn.functional.interpolate(colourful(10), (side, side)).mul(255).round() / 255
    found = levels(CORRUPTIONS.parse(f"snow(family={family!r})")(x, severity, torch.arange(10), RNG))
    _, _, zoom, threshold, radius, blur = FLAKES[family][severity - 1]
    kept = KEPT[family][severity - 1]
    for sample, image in enumerate(levels(x).astype(np.float32) / 255):
        noise, angle = drawn(sample, severity, side, family)
        layer = ndimage.zoom(noise, zoom, order=1)
        trim = (len(layer) - side) // 2
        layer = layer[trim : trim + side, trim : trim + side]
        layer = np.floor(np.clip(np.where(layer < threshold, 0, layer), 0, 1) * 255)
        layer = np.rint(package._motion_blur(layer, radius=radius, sigma=blur, angle=angle))[..., None] / 255
        grey = image @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
        white = kept * image + (1 - kept) * np.maximum(image, grey[..., None] * 1.5 + 0.5)
        expected = np.uint8(np.clip(white + layer + layer[::-1, ::-1], 0, 1) * 255)
        apart = np.abs(found[sample].astype(int) - expected)
        assert (apart <= 1).mean() >= 0.995


@pytest.mark.parametrize("severity", range(1, 6))
def test_it_has_the_distribution_of_the_package_imagecorruptions(severity):
    package = pytest.importorskip("imagecorruptions.corruptions")
    x = colourful(500)
    before = levels(x).astype(np.float64)
    np.random.seed(severity)  # noqa: NPY002 - the package draws from it
    theirs = np.stack([np.uint8(package.snow(Image.fromarray(image), severity)) for image in levels(x)]) - before
    ours = levels(CORRUPTIONS.parse("snow(family='imagenet')")(x, severity, torch.arange(500), RNG)) - before
    # The spread along the columns against that along the rows shows the direction of the smear.
    for figure in (np.mean, np.std, lambda change: np.diff(change, axis=0).std() / np.diff(change, axis=1).std()):
        one, other = (np.array([figure(change) for change in changes]) for changes in (theirs, ours))
        error = math.sqrt((one.var() + other.var()) / 500)
        assert abs(one.mean() - other.mean()) <= max(0.03 * abs(one.mean()), 4 * error)


def test_a_flake_is_smeared_along_its_angle():
    layer = torch.zeros(3, 9, 9)
    layer[:, 4, 4] = 1
    found = smeared(layer, torch.tensor([-90.0, -45.0, 0.0], dtype=torch.float64), 1, 1.0)
    weights = torch.exp(-torch.tensor([0.0, 1.0, 4.0]) / 2)
    weights /= weights.sum()
    for row, (down, right) in zip(found, ((1, 0), (1, -1), (0, -1)), strict=True):
        expected = torch.zeros(9, 9)
        # At 45 degrees two steps are 1.41 pixels on both axes, which is nearest to 1.
        steps = (0, 1, 2) if 0 in (down, right) else (0, 1, 1)
        for step, weight in zip(steps, weights, strict=True):
            expected[4 + step * down, 4 + step * right] += weight
        assert torch.allclose(row, expected)


def test_snow_looks_the_same_upside_down():
    white = CORRUPTIONS.parse("snow(family='imagenet')")(torch.zeros(5, 3, 32, 32), 3, torch.arange(5), RNG)
    assert torch.equal(white, white.flip(2, 3))
    assert white.min().mul(255) == 38  # 0.3 * 0.5, cut to bytes
    assert white.unique().numel() > 50


def test_the_same_bits_at_batch_512():
    x = torch.rand(512, 3, 33, 31, generator=torch.Generator().manual_seed(0))
    for family in KEPT:
        snow = CORRUPTIONS.parse(f"snow(family={family!r})")
        whole = snow(x, 4, torch.arange(512), RNG)
        assert torch.equal(torch.cat([snow(x[i : i + 1], 4, torch.tensor([i]), RNG) for i in range(32)]), whole[:32])
        assert torch.equal(snow(x[500:], 4, torch.arange(500, 512), RNG), whole[500:])
