import numpy as np
import pytest
import torch
from skimage.filters import gaussian

from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS

imagecorruptions = pytest.importorskip("imagecorruptions")
RNG = Stream.seeded(0)
CONSTANTS = {
    "cifar": ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
    "tiny-imagenet": ((0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2)),
    "imagenet": ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
}


@pytest.fixture(scope="module")
def photographs(shared_data) -> np.ndarray:
    """CIFAR-10 images [500, 32, 32, 3] of bytes."""
    with np.load(shared_data / "cifar10-slice.npz") as arrays:
        return arrays["test_images"][:500]


def corrupted(images: np.ndarray, severity: int, family: str) -> np.ndarray:
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    found = CORRUPTIONS.parse(f"glass-blur(family={family!r})")(x, severity, torch.arange(len(x)), RNG)
    return found.mul(255).round().permute(0, 2, 3, 1).byte().numpy()


def test_constants_are_the_originals():
    assert CORRUPTIONS.classes["glass-blur"].families == CONSTANTS | {"mnist-c": ((0.7, 1, 2),)}


def original(image: np.ndarray, sample: int, severity: int, family: str) -> np.ndarray:
    """The function of make_cifar_c.py, place by place, with our random numbers."""
    sigma, largest, rounds = CONSTANTS[family][severity - 1]
    height, width = image.shape[:2]
    rng = RNG.stream("corruption", "glass-blur", severity)
    x = np.uint8(gaussian(image / 255.0, sigma=sigma, channel_axis=-1) * 255)
    for draw in range(rounds):
        number = rng.uniform(torch.tensor([sample]), (height, width), draw)[0].numpy() * (2 * largest)
        down = np.floor(number).astype(int) - largest
        right = np.floor((number - np.floor(number)) * (2 * largest)).astype(int) - largest
        for h in range(height - largest, largest, -1):
            for w in range(width - largest, largest, -1):
                h_near, w_near = h + down[h, w], w + right[h, w]
                # Both sides are views: what reads as a swap copies the partner's colour.
                x[h, w], x[h_near, w_near] = x[h_near, w_near], x[h, w]
    return np.uint8(np.clip(gaussian(x / 255.0, sigma=sigma, channel_axis=-1), 0, 1) * 255)


@pytest.mark.parametrize("family", CONSTANTS)
@pytest.mark.parametrize("severity", range(1, 6))
def test_is_the_originals_loop(photographs, severity, family):
    expected = np.stack([original(image, i, severity, family) for i, image in enumerate(photographs[:12])])
    away = np.abs(corrupted(photographs[:12], severity, family).astype(int) - expected)
    assert (away <= 1).mean() >= 0.995


@pytest.mark.parametrize("size", [(8, 8), (9, 41)])
def test_other_sizes_are_the_originals_loop(size):
    image = np.random.default_rng(0).integers(0, 256, (1, *size, 3), dtype=np.uint8)
    expected = original(image[0], 0, 5, "imagenet").astype(int)
    assert (np.abs(corrupted(image, 5, "imagenet")[0] - expected) <= 1).all()


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
    pairs = enumerate(photographs)
    expected = np.stack([imagecorruptions.corrupt(image, severity, "glass_blur", seed=i) for i, image in pairs])
    assert agree(corrupted(photographs, severity, "imagenet"), expected, photographs)


def test_pixels_move_by_the_largest_shift_at_most_and_uniformly():
    """At sigma 0.05 nothing is blurred, so an image of coordinates tells where each colour comes from."""
    down, right = np.indices((32, 32))
    images = np.repeat(np.stack([down, right, 0 * down], axis=-1)[None].astype(np.uint8), 400, axis=0)
    moved = corrupted(images, 1, "cifar").astype(int) - images
    # Places on the last row and column of the inner part have partners that never copied, but for those beside them.
    corner = moved[:, 31, 31, :2]
    assert {tuple(shift) for shift in corner.tolist()} == {(-1, -1), (-1, 0), (0, -1), (0, 0)}
    counts = np.unique(corner, axis=0, return_counts=True)[1]
    assert ((counts - 100) ** 2).sum() / 100 < 16.3  # the 0.999 quantile of chi-square with 3 degrees of freedom
    assert (moved[:, :2] == 0).all()
    assert (moved[:, :, :2] == 0).all()
    assert moved.max() == 0
