import numpy as np
import pytest
import torch

from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS

imagecorruptions = pytest.importorskip("imagecorruptions")
RNG = Stream.seeded(0)
CONSTANTS = {
    "cifar": ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
    "tiny-imagenet": ((10, 1), (10, 1.5), (10, 2), (10, 2.5), (12, 3)),
    "imagenet": ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
}


@pytest.fixture(scope="module")
def photographs(shared_data) -> np.ndarray:
    """CIFAR-10 images [500, 32, 32, 3] of bytes."""
    with np.load(shared_data / "cifar10-slice.npz") as arrays:
        return arrays["test_images"][:500]


def corrupted(images: np.ndarray, severity: int, family: str) -> np.ndarray:
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    found = CORRUPTIONS.parse(f"motion-blur(family={family!r})")(x, severity, torch.arange(len(x)), RNG)
    return found.mul(255).round().permute(0, 2, 3, 1).byte().numpy()


def test_constants_are_the_originals():
    assert CORRUPTIONS.classes["motion-blur"].families == CONSTANTS | {"mnist-c": ((10, 3.0),)}


def angles(count: int, severity: int) -> list[float]:
    drawn = RNG.stream("corruption", "motion-blur", severity).uniform(torch.arange(count), (1,), dtype=torch.float64)
    return (drawn[:, 0] * 90 - 45).tolist()


def magick(image: np.ndarray, radius: int, sigma: float, angle: float) -> np.ndarray:
    """MotionBlurImage of ImageMagick (effect.c), whose offsets are those of half a Gaussian line, and its rounding."""
    height, width = image.shape[:2]
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    total = np.zeros(image.shape)
    for step, weight in zip(steps, weights / weights.sum(), strict=True):
        right, down = (int(np.ceil(step * turn(np.deg2rad(angle)) - 0.5)) for turn in (np.cos, np.sin))
        rows, columns = (np.arange(height) + down).clip(0, height - 1), (np.arange(width) + right).clip(0, width - 1)
        total += weight * image[rows][:, columns]
    return np.floor(total + 0.5).astype(np.uint8)


@pytest.mark.parametrize("family", ["cifar", "tiny-imagenet"])
@pytest.mark.parametrize("severity", range(1, 6))
def test_smaller_families_are_imagemagicks_formula(photographs, severity, family):
    constants = CONSTANTS[family][severity - 1]
    pairs = zip(photographs[:100], angles(100, severity), strict=True)
    expected = np.stack([magick(image, *constants, angle) for image, angle in pairs])
    away = np.abs(corrupted(photographs[:100], severity, family).astype(int) - expected)
    assert (away <= 1).all()
    assert (away == 0).mean() >= 0.97


@pytest.mark.parametrize("severity", range(1, 6))
def test_imagenet_is_imagecorruptions_at_the_same_angles(photographs, severity):
    blur = imagecorruptions.corruptions._motion_blur
    pairs = zip(photographs[:100], angles(100, severity), strict=True)
    expected = np.stack([np.uint8(blur(image, *CONSTANTS["imagenet"][severity - 1], a)) for image, a in pairs])
    away = np.abs(corrupted(photographs[:100], severity, "imagenet").astype(int) - expected)
    assert (away <= 1).mean() >= 0.9999
    assert (away == 0).mean() >= 0.97


def agree(found: np.ndarray, expected: np.ndarray, images: np.ndarray) -> bool:
    """Whether mean and standard deviation of the change are within 3% or 4 standard errors of the difference."""
    ours, theirs = (each.astype(float) - images for each in (found, expected))
    means = [change.mean(axis=(1, 2, 3)) for change in (ours, theirs)]
    squares = [(change**2).mean(axis=(1, 2, 3)) for change in (ours, theirs)]
    deviation = theirs.std()
    error = [np.std(one - other) / np.sqrt(len(images)) for one, other in (means, squares)]
    close_mean = abs(ours.mean() - theirs.mean()) <= max(0.03 * abs(theirs.mean()), 4 * error[0])
    return close_mean and abs(ours.std() - deviation) <= max(0.03 * deviation, 4 * error[1] / (2 * deviation))


@pytest.mark.parametrize("severity", range(1, 6))
def test_imagenet_agrees_with_imagecorruptions_in_distribution(photographs, severity):
    blur, constants = imagecorruptions.corruptions._motion_blur, CONSTANTS["imagenet"][severity - 1]
    drawn = np.random.default_rng(1).uniform(-45, 45, len(photographs))
    expected = np.stack([np.uint8(blur(image, *constants, a)) for image, a in zip(photographs, drawn, strict=True)])
    assert agree(corrupted(photographs, severity, "imagenet"), expected, photographs)


@pytest.mark.parametrize("size", [(8, 8), (9, 41), (28, 28)])
def test_small_images_keep_an_even_surface(size):
    surface = np.full((6, *size, 3), 200, np.uint8)
    for family in CONSTANTS:
        for severity in (1, 5):
            assert (corrupted(surface, severity, family) == surface).all()


def test_imagenet_darkens_where_the_line_is_longer_than_the_image_as_imagecorruptions_does():
    surface = np.full((20, 32, 32, 3), 200, np.uint8)
    found = corrupted(surface, 5, "imagenet")
    blur = imagecorruptions.corruptions._motion_blur
    expected = [np.uint8(blur(surface[0], 20, 15, angle)).mean() for angle in angles(20, 5)]
    assert found.mean(axis=(1, 2, 3)) == pytest.approx(np.array(expected), abs=1)
    assert found.min() < 196


def test_a_spot_trails_to_its_left():
    image = np.zeros((30, 41, 41, 3), np.uint8)
    image[:, 20, 20] = 255
    down, right = np.nonzero(corrupted(image, 1, "imagenet")[..., 0].any(axis=0))
    assert right.max() == 20
    assert right.min() < 13
    assert (np.abs(down - 20) <= 20 - right + 1).all()
