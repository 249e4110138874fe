import warnings

import numpy as np
import pytest
import torch
from scipy import ndimage

from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS
from robusteval.corruptions.spatter import blurred

# make_cifar_c.py, make_tinyimagenet_c.py and imagecorruptions, severity 1 to 5
CONSTANTS = {
    "cifar": (
        (0.62, 0.1, 0.7, 0.7, 0.5, 0),
        (0.65, 0.1, 0.8, 0.7, 0.5, 0),
        (0.65, 0.3, 1, 0.69, 0.5, 0),
        (0.65, 0.1, 0.7, 0.69, 0.6, 1),
        (0.65, 0.1, 0.5, 0.68, 0.6, 1),
    ),
    "tiny-imagenet": (
        (0.62, 0.1, 0.7, 0.7, 0.6, 0),
        (0.65, 0.1, 0.8, 0.7, 0.6, 0),
        (0.65, 0.3, 1, 0.69, 0.6, 0),
        (0.65, 0.1, 0.7, 0.68, 0.6, 1),
        (0.65, 0.1, 0.5, 0.67, 0.6, 1),
    ),
    "imagenet": (
        (0.65, 0.3, 4, 0.69, 0.6, 0),
        (0.65, 0.3, 3, 0.68, 0.6, 0),
        (0.65, 0.3, 2, 0.68, 0.5, 0),
        (0.65, 0.3, 1, 0.65, 1.5, 1),
        (0.67, 0.4, 1, 0.65, 1.5, 1),
    ),
}
KERNEL = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], dtype=np.int32)
RNG = Stream.seeded(0)


def noise(count: int, side: int) -> np.ndarray:
    return np.random.default_rng(side).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def spattered(images: np.ndarray, severity: int, family: str = "imagenet") -> np.ndarray:
    x = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().float() / 255
    changed = CORRUPTIONS.parse(f"spatter(family={family!r})")(x, severity, torch.arange(len(x)), RNG)
    return changed.mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def original(image: np.ndarray, normal: np.ndarray, constants: tuple[float, ...]) -> np.ndarray:
    """The steps of the generators for one image, from given normal numbers."""
    cv2, filters = pytest.importorskip("cv2"), pytest.importorskip("skimage.filters")
    mean, deviation, blur, threshold, strength, mud = constants
    x = image.astype(np.float32) / np.float32(255)
    liquid = filters.gaussian(mean + deviation * normal, sigma=blur)
    if mud:
        cover = filters.gaussian((liquid > threshold).astype(np.float32), sigma=strength)[..., None]
        cover[cover < 0.8] = 0
        return np.uint8(np.clip(x * (1 - cover) + np.float32([63 / 255, 42 / 255, 20 / 255]) * cover, 0, 1) * 255)
    layer = (np.where(liquid < threshold, 0, liquid) * 255).astype(np.uint8)
    depth = np.minimum(cv2.distanceTransform(255 - cv2.Canny(layer, 50, 150), cv2.DIST_L2, 5), 20)
    depth = cv2.equalizeHist(cv2.blur(depth, (3, 3)).astype(np.uint8))
    shine = cv2.blur(cv2.filter2D(depth, cv2.CV_8U, KERNEL), (3, 3)).astype(np.float32)
    water = layer * shine
    water = (water / water.max() * np.float32(strength))[..., None]
    return np.uint8(np.clip(x + water * np.float32([175 / 255, 238 / 255, 238 / 255]), 0, 1) * 255)


def test_the_constants_are_the_originals():
    assert CORRUPTIONS.classes["spatter"].families == CONSTANTS | {"mnist-c": ((0.65, 0.3, 1, 0.65, 1.5, 1),)}


@pytest.mark.parametrize("side", [32, 64, 28])
@pytest.mark.parametrize("family", ["cifar", "tiny-imagenet"])
@pytest.mark.parametrize("severity", range(1, 6))
def test_equals_the_original_of_the_same_normal_numbers(severity, family, side):
    images = noise(40 if side < 64 else 10, side)
    normal = RNG.stream("corruption", "spatter", severity).normal(torch.arange(len(images)), (side, side))
    constants = CONSTANTS[family][severity - 1]
    expected = np.stack([original(*pair, constants) for pair in zip(images, normal.double().numpy(), strict=True)])
    error = np.abs(spattered(images, severity, family).astype(int) - expected)
    assert (error == 0).mean() > 0.9998
    assert (error <= 1).mean() > 0.9999


@pytest.mark.parametrize("severity", range(1, 6))
def test_equals_the_package_with_the_same_normal_numbers(severity, monkeypatch):
    images = noise(100, 32)
    normal = RNG.stream("corruption", "spatter", severity).normal(torch.arange(100), (32, 32)).double().numpy()
    numbers = iter(normal)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package = pytest.importorskip("imagecorruptions")
        monkeypatch.setattr(np.random, "normal", lambda size, loc, scale: loc + scale * next(numbers).reshape(size))
        expected = np.stack([package.corrupt(image, severity, "spatter") for image in images])
    error = np.abs(spattered(images, severity).astype(int) - expected)
    assert (error == 0).mean() > 0.998
    assert (error <= 1).mean() > 0.999


@pytest.mark.parametrize("severity", range(1, 6))
def test_the_change_is_the_packages_in_mean_and_deviation(severity, shared_data):
    images = np.load(shared_data / "cifar10-slice.npz")["test_images"][:500]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package = pytest.importorskip("imagecorruptions")
        np.random.seed(severity)  # noqa: NPY002  (the package draws from numpy's global generator)
        expected = np.stack([package.corrupt(image, severity, "spatter") for image in images])
    moments = []
    for levels in (spattered(images, severity), expected):
        change = (levels.astype(float) - images).reshape(500, -1)
        squares = ((change - change.mean()) ** 2).mean(axis=1)
        moments.append((change.mean(), change.mean(axis=1).std(), squares.mean() ** 0.5, squares.std()))
    (mean, mean_spread, deviation, spread), (its_mean, its_mean_spread, its_deviation, its_spread) = moments
    error = np.hypot(mean_spread, its_mean_spread) / 500**0.5
    assert mean == pytest.approx(its_mean, abs=max(0.03 * abs(its_mean), 4 * error))
    error = np.hypot(spread / deviation, its_spread / its_deviation) / 2 / 500**0.5
    assert deviation == pytest.approx(its_deviation, abs=max(0.03 * its_deviation, 4 * error))


def test_without_water_an_image_is_black_as_in_the_original():
    found = spattered(noise(1000, 32)[:, :16, :16], 1)
    black = found.max(axis=(1, 2, 3)) == 0
    assert 0.01 < black.mean() < 0.6
    assert np.median(found[~black]) > 60


def test_mud_covers_and_water_brightens():
    images = noise(50, 32)
    assert (spattered(images, 3, "cifar") >= images).all()
    mud = spattered(images, 5, "cifar")
    covered = (mud == [63, 42, 20]).all(axis=-1)
    assert 0.0005 < covered.mean() < 0.5
    assert (mud[covered] != images[covered]).any()
    assert (mud == images).mean() > 0.4


@pytest.mark.parametrize("deviation", [0.5, 1.5, 4.0])
@pytest.mark.parametrize("shape", [(32, 32), (8, 20)])
def test_a_blur_is_scipys(deviation, shape):
    x = torch.randn(5, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = np.stack([ndimage.gaussian_filter(each, deviation, mode="nearest") for each in x.numpy()])
    assert blurred(x, deviation).numpy() == pytest.approx(expected, abs=5e-7)
    assert (blurred(torch.ones(1, *shape, dtype=torch.float64), deviation) == 1).all()


def test_a_blur_has_the_same_bits_at_any_batch_size():
    x = torch.randn(512, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    whole = blurred(x, 2.0)
    assert torch.equal(whole, torch.cat([blurred(each, 2.0) for each in x.split(1)]))
    assert torch.equal(whole, torch.cat([blurred(each, 2.0) for each in x.split(37)]))
