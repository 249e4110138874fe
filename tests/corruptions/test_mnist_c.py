"""The corruptions that MNIST-C shares with ImageNet-C, by the formulas of its corruptions.py for grey images."""

import numpy as np
import pytest
import torch
from scipy import ndimage, stats

from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS
from robusteval.data import DATA

RNG = Stream.seeded(0)
CLOTHES = DATA.parse("fashion-mnist").split("test").first(60).batch()
LEVELS = CLOTHES.x.mul(255).round()[:, 0].double().numpy()
SHARED = {
    "shot-noise": 3.0,
    "impulse-noise": 0.17,
    "glass-blur": (0.7, 1, 2),
    "motion-blur": (10, 3),
    "brightness": 0.5,
    "fog": (3.0, 1.4),
    "spatter": (0.65, 0.3, 1, 0.65, 1.5, 1),
}
OWN = ("shear", "scale", "rotate", "translate", "stripe", "dotted-line", "zigzag", "canny-edges")


def corrupted(name: str, x: torch.Tensor, ids: torch.Tensor = CLOTHES.ids) -> np.ndarray:
    """The levels of grey images, [n, h, w]."""
    found = CORRUPTIONS.parse(f"{name}(family='mnist-c')")(x, 1, ids, RNG)
    return found.mul(255).round()[:, 0].double().numpy()


def rounded(x: np.ndarray) -> np.ndarray:
    return np.round(np.float32(np.clip(x, 0, 1) * 255))


def test_mnist_c_has_its_fifteen_at_one_severity():
    classes = CORRUPTIONS.classes.items()
    having = {name: each.families["mnist-c"] for name, each in classes if "mnist-c" in each.families}
    assert set(having) == {*SHARED, *OWN}
    assert {name: having[name] for name in SHARED} == {name: (constants,) for name, constants in SHARED.items()}
    assert all(len(constants) == 1 for constants in having.values())


@pytest.mark.parametrize("name", SHARED)
def test_mnist_c_is_used_only_where_it_is_named(name):
    corruption = CORRUPTIONS.parse(name)
    assert corruption.severities == 5
    assert "mnist-c" not in {corruption.family_of(side) for side in (8, 28, 32, 64, 224)}
    assert list(corruption.families)[-1] == "mnist-c"


@pytest.mark.parametrize("name", [*SHARED, "dotted-line", "zigzag", "rotate", "translate"])
def test_what_is_drawn_is_the_same_in_all_channels(name):
    grey = CORRUPTIONS.parse(f"{name}(family='mnist-c')")(CLOTHES.x.repeat(1, 3, 1, 1), 1, CLOTHES.ids, RNG)
    assert torch.equal(grey[:, :1].expand_as(grey), grey)
    assert np.array_equal(grey[:, 0].mul(255).round().double().numpy(), corrupted(name, CLOTHES.x))


def test_shot_noise_counts_three_photons():
    level = 120
    found = corrupted("shot-noise", torch.full((40, 1, 28, 28), level / 255), torch.arange(40))
    chances = stats.poisson(level / 255 * 3).pmf([0, 1, 2])
    seen = [int((found == value).sum()) for value in (0, 85, 170, 255)]
    assert sum(seen) == found.size
    assert stats.chisquare(seen, found.size * np.append(chances, 1 - chances.sum())).pvalue > 1e-4


def test_impulse_noise_strikes_pixels_not_channels():
    found = corrupted("impulse-noise", torch.full((40, 1, 28, 28), 100 / 255), torch.arange(40))
    seen = [int((found == value).sum()) for value in (0, 100, 255)]
    assert stats.chisquare(seen, found.size * np.array([0.085, 0.83, 0.085])).pvalue > 1e-4


def test_brightness_adds_half_and_rounds_to_the_even_level():
    found = corrupted("brightness", CLOTHES.x)
    assert np.array_equal(found, rounded(LEVELS / 255 + 0.5))
    assert found.min() == 128


def test_spatter_is_the_formula_with_grey_mud():
    found = corrupted("spatter", CLOTHES.x)
    normal = RNG.stream("corruption", "spatter", 1).normal(CLOTHES.ids, (28, 28)).double().numpy()
    same = []
    for x, drawn, after in zip(LEVELS / 255, normal, found, strict=True):
        liquid = ndimage.gaussian_filter(0.65 + 0.3 * drawn, 1, mode="nearest")
        mud = ndimage.gaussian_filter((liquid > 0.65).astype(float), 1.5, mode="nearest")
        mud[mud < 0.8] = 0
        same.append(np.abs(rounded(63 / 255 * mud + x * (1 - mud)) - after) <= 1)
    assert np.mean(same) > 0.9995
    assert (found == 63).mean() > 0.001


def plasma(drawn: Stream, sample: int, size: int, decay: float) -> np.ndarray:
    """The original's height map, from our uniform numbers."""
    height, step, wibble = np.zeros((size, size)), size, 100.0
    roll = np.roll
    while step >= 2:
        half = step // 2

        def offset(total: np.ndarray, kind: str, step: int = step, wibble: float = wibble) -> np.ndarray:
            numbers = drawn.stream(step, kind).uniform(torch.tensor([sample]), total.shape, dtype=torch.float64)[0]
            return total / 4 + wibble * (2 * numbers.numpy() - 1) * wibble

        corner = height[::step, ::step]
        square = corner + roll(corner, -1, 0) + roll(corner, -1, 1) + roll(corner, (-1, -1), (0, 1))
        centre = height[half::step, half::step] = offset(square, "squares")
        height[::step, half::step] = offset(centre + roll(centre, 1, 0) + corner + roll(corner, -1, 1), "rows")
        height[half::step, ::step] = offset(centre + roll(centre, 1, 1) + corner + roll(corner, -1, 0), "columns")
        step, wibble = half, wibble / decay
    height -= height.min()
    return height / height.max()


def test_fog_is_the_corner_of_a_map_of_256_pixels():
    found = corrupted("fog", CLOTHES.x[:20], CLOTHES.ids[:20])
    for x, sample, after in zip(LEVELS / 255, CLOTHES.ids.tolist(), found, strict=False):
        haze = plasma(RNG.stream("corruption", "fog", 1), sample, 256, 1.4)[:28, :28]
        assert np.array_equal(after, rounded((x + 3 * haze) * x.max() / (x.max() + 3)))


def glass(levels: np.ndarray, digits: np.ndarray) -> np.ndarray:
    """The original's glass blur in loops; digits [rounds, place] hold whether to swap, and how far up and left."""

    def blurred(x: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter1d(x, 0.7, axis=0, mode="nearest")

    x = np.uint8(blurred(levels / 255) * 255)
    for numbers in digits:
        for row in range(27, 1, -1):
            for column in range(27, 1, -1):
                number = int(numbers[row * 28 + column])
                if number & 4:
                    partner = row - (number >> 1 & 1), column - (number & 1)
                    x[row, column], x[partner] = x[partner], x[row, column]
    return rounded(blurred(x / 255))


def test_glass_blur_swaps_half_of_the_pixels_and_blurs_down_the_columns():
    found = corrupted("glass-blur", CLOTHES.x)
    digits = RNG.stream("corruption", "glass-blur", 1).integers(CLOTHES.ids, (2, 28 * 28), 0, 8).numpy()
    exact = np.stack([glass(*pair) for pair in zip(LEVELS, digits, strict=True)])
    assert np.abs(found - exact).max() <= 1
    assert (found == exact).mean() > 0.9995
    assert np.bincount(digits.ravel(), minlength=8) == pytest.approx(digits.size / 8, rel=0.05)


def test_motion_blur_is_imagemagicks():
    found = corrupted("motion-blur", CLOTHES.x)
    angles = RNG.stream("corruption", "motion-blur", 1).uniform(CLOTHES.ids, (1,), dtype=torch.float64) * 90 - 45
    curve = np.exp(-0.5 * (np.arange(21) / 3) ** 2)
    place = np.arange(28)
    for levels, angle, after in zip(LEVELS, np.deg2rad(angles[:, 0].numpy()), found, strict=True):
        total = np.zeros((28, 28))
        for step, weight in enumerate(curve / curve.sum()):
            right, down = (int(np.ceil(step * along - 0.5)) for along in (np.cos(angle), np.sin(angle)))
            total += weight * levels[(place + down).clip(0, 27)][:, (place + right).clip(0, 27)]
        assert np.abs(total - after).max() < 0.55
