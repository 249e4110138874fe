import math
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image

from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS
from robusteval.corruptions.plasma import plasma_fractal
from robusteval.data import DATA

FOG = CORRUPTIONS.parse("fog")
RNG = Stream.seeded(0)
# make_cifar_c.py, make_tinyimagenet_c.py and imagecorruptions, severity 1 to 5
FAMILIES = {
    "cifar": ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
    "tiny-imagenet": ((0.4, 3), (0.7, 3), (1, 2.5), (1.5, 2), (2, 1.75)),
    "imagenet": ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
}
SIDES = {"cifar": 32, "tiny-imagenet": 64, "imagenet": 32}


def diamond_square(size: int, decay: float, sample: int, rng: Stream) -> np.ndarray:
    """One height map, point by point: the mean of the four neighbours on the torus, and an offset."""
    height, step, wibble = np.zeros((size, size)), size, 100.0
    while step >= 2:
        half, count = step // 2, size // step
        for kind, row, column in (("squares", half, half), ("rows", 0, half), ("columns", half, 0)):
            around = [(-1, -1), (-1, 1), (1, -1), (1, 1)] if kind == "squares" else [(-1, 0), (1, 0), (0, -1), (0, 1)]
            drawn = rng.stream(step, kind).uniform(torch.tensor([sample]), (count, count), dtype=torch.float64)[0]
            for i, j in np.ndindex(count, count):
                y, x = i * step + row, j * step + column
                mean = np.mean([height[(y + half * dy) % size, (x + half * dx) % size] for dy, dx in around])
                height[y, x] = mean + wibble * (2 * wibble * drawn[i, j].item() - wibble)
        step, wibble = half, wibble / decay
    height -= height.min()
    return height / height.max()


@pytest.mark.parametrize(("size", "decay"), [(32, 3.0), (32, 1.75), (4, 2.0), (64, 2.5)])
def test_a_plasma_is_the_diamond_square_of_its_numbers(size, decay):
    ids = torch.tensor([5, 9])
    found = plasma_fractal(ids, size, decay, RNG)
    for row, sample in enumerate(ids.tolist()):
        assert found[row].numpy() == pytest.approx(diamond_square(size, decay, sample, RNG), abs=1e-12)


def test_a_plasma_spans_the_unit_interval_and_is_smoother_with_decay():
    rough, smooth = (plasma_fractal(torch.arange(50), 32, decay, RNG) for decay in (1.75, 3.0))
    for plasma in (rough, smooth):
        assert plasma.amin(dim=(1, 2)).tolist() == [0.0] * 50
        assert plasma.amax(dim=(1, 2)).tolist() == [1.0] * 50
        assert 0.4 < plasma.mean() < 0.6
        # The map is a torus: its edges fit together as well as its inner neighbours do.
        assert (plasma[:, 0] - plasma[:, -1]).abs().mean() < 1.3 * plasma.diff(dim=1).abs().mean()
    high = [share_of_high_frequencies(plasma) for plasma in (rough, smooth)]
    assert high[1] < high[0] / 2 < 0.01


def share_of_high_frequencies(plasma: torch.Tensor) -> float:
    power = torch.fft.rfft2(plasma - plasma.mean(dim=(1, 2), keepdim=True)).abs() ** 2
    return float(power[:, 8:25, 8:].sum() / power.sum())


def test_the_constants_are_the_originals():
    assert CORRUPTIONS.classes["fog"].families == FAMILIES | {"mnist-c": ((3.0, 1.4),)}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("severity", range(1, 6))
def test_fog_is_the_originals_formula(family, severity):
    images = DATA.parse("fashion-mnist").split("test").first(3).batch()
    colour = images.x.repeat(1, 3, 1, 1)
    found = CORRUPTIONS.parse(f"fog(family={family!r})")(colour, severity, images.ids, RNG).mul(255).round().numpy()
    strength, decay = FAMILIES[family][severity - 1]
    for row, sample in enumerate(images.ids.tolist()):
        haze = diamond_square(SIDES[family], decay, sample, RNG.stream("corruption", "fog", severity))[:28, :28]
        x = np.rint(colour[row].numpy().astype(np.float64) * 255) / 255
        largest = x.max()
        exact = np.clip((x + strength * haze) * largest / (largest + strength), 0, 1) * 255
        # Where the exact value is a whole number the last bit decides which byte it is cut to.
        assert ((found[row] == np.floor(exact)) | (np.abs(exact - np.rint(exact)) < 1e-9)).all()


def test_fog_brightens_dark_places_and_keeps_the_brightest_and_the_black_image():
    x = torch.zeros(20, 1, 28, 28)
    assert FOG(x, 5, torch.arange(20), RNG).max() == 0
    x[:, :, :, 14:] = 1.0
    foggy = FOG(x, 5, torch.arange(20), RNG)
    assert 0.2 < foggy[..., :14].mean() < 0.4
    assert foggy.max() <= 1
    assert foggy[..., 14:].mean() < 0.8


def colourful(count: int, side: int = 32) -> torch.Tensor:
    """Images [n, 3, side, side] whose channels are three pieces of clothing."""
    x = torch.nn.functional.pad(DATA.parse("fashion-mnist").split("test").first(count).batch().x, (2, 2, 2, 2))
    x = torch.cat([x, x.flip(3).roll(1, 0), x.roll(2, 0)], dim=1)
    return torch.nn.functional.interpolate(x, (side, side)).mul(255).round() / 255


def levels(x: torch.Tensor) -> np.ndarray:
    return x.mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


@pytest.mark.parametrize("side", [32, 80])
@pytest.mark.parametrize("severity", range(1, 6))
def test_the_package_imagecorruptions_gives_the_same_for_the_same_numbers(side, severity):
    package = pytest.importorskip("imagecorruptions.corruptions")
    x, expected = colourful(10, side), []
    for sample, image in enumerate(levels(x)):
        rng, calls = RNG.stream("corruption", "fog", severity), iter(range(99))

        def uniform(low, high, size, rng=rng, calls=calls, sample=sample):
            kind = ("squares", "rows", "columns")[next(calls) % 3]
            step = 2 ** math.ceil(math.log2(side)) // size[0]
            drawn = rng.stream(step, kind).uniform(torch.tensor([sample]), size, dtype=torch.float64)[0]
            return low + (high - low) * drawn.numpy()

        with mock.patch.object(np.random, "uniform", uniform):
            expected.append(np.uint8(package.fog(Image.fromarray(image), severity)))
    found = levels(CORRUPTIONS.parse("fog(family='imagenet')")(x, severity, torch.arange(10), RNG))
    apart = np.abs(found.astype(int) - np.stack(expected))
    assert apart.max() <= 1
    assert (apart == 0).mean() > 0.99


@pytest.mark.parametrize("severity", range(1, 6))
def test_it_has_the_distribution_of_the_package_imagecorruptions(severity):
    package = pytest.importorskip("imagecorruptions.corruptions")
    x = colourful(500)
    before = levels(x).astype(np.float64)
    np.random.seed(severity)  # noqa: NPY002 - the package draws from it
    theirs = np.stack([np.uint8(package.fog(Image.fromarray(image), severity)) for image in levels(x)]) - before
    ours = levels(CORRUPTIONS.parse("fog(family='imagenet')")(x, severity, torch.arange(500), RNG)) - before
    for figure in (np.mean, np.std, lambda change: np.diff(change, axis=0).std()):
        one, other = (np.array([figure(change) for change in changes]) for changes in (theirs, ours))
        error = math.sqrt((one.var() + other.var()) / 500)
        assert abs(one.mean() - other.mean()) <= max(0.03 * abs(one.mean()), 4 * error)


def test_the_same_bits_at_batch_512():
    x = torch.rand(512, 3, 33, 31, generator=torch.Generator().manual_seed(0))
    for family in FAMILIES:
        fog = CORRUPTIONS.parse(f"fog(family={family!r})")
        whole = fog(x, 4, torch.arange(512), RNG)
        assert torch.equal(torch.cat([fog(x[i : i + 1], 4, torch.tensor([i]), RNG) for i in range(32)]), whole[:32])
