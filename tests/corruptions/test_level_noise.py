import warnings

import numpy as np
import pytest
import torch
from scipy import stats

from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS
from robusteval.corruptions.level_noise import alias_table, noisy, normal_channel

RNG = Stream.seeded(0)
NOISES = ["gaussian-noise", "shot-noise", "impulse-noise", "speckle-noise"]


def sparse() -> np.ndarray:
    weights = np.random.default_rng(0).uniform(size=(256, 256)) ** 30
    return weights / weights.sum(axis=1, keepdims=True)


CHANNELS = {
    "keep": np.eye(256),
    "even": np.full((256, 256), 1 / 256),
    "sparse": sparse(),
    "narrow": normal_channel(np.full(256, 2.0)),
    "wide": normal_channel(np.linspace(0, 150, 256)),
}


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_table_holds_its_probabilities(channel):
    entries = alias_table(CHANNELS[channel]).numpy().astype(np.int64).reshape(256, 256)
    shares, others = (entries >> 8) / 2**23, entries & 255
    held = shares / 256
    np.add.at(held, (np.arange(256)[:, None], others), (1 - shares) / 256)
    assert np.abs(held - CHANNELS[channel]).max() < 1e-8


def test_a_normal_channel_is_cut_to_bytes():
    found = normal_channel(np.array([0.0] + [30.0] * 255))
    assert found[0, 0] == 1
    levels = np.clip(220 + 30 * np.random.default_rng(0).normal(size=200_000), 0, 255).astype(np.uint8)
    counts = np.bincount(levels, minlength=256)
    assert stats.chisquare(counts[130:], found[220, 130:] / found[220, 130:].sum() * counts[130:].sum()).pvalue > 1e-3


@pytest.mark.parametrize("level", [0, 7, 255])
def test_draws_have_the_probabilities(level):
    x = torch.full((40, 3, 32, 32), level / 255, dtype=torch.float64)
    table = alias_table(CHANNELS["sparse"])
    counts = noisy(x, table, torch.arange(40), RNG).mul(255).round().to(torch.int64).flatten().bincount(minlength=256)
    expected = CHANNELS["sparse"][level] * x.numel()
    often = expected > 10
    assert (
        stats.chisquare(
            [*counts.numpy()[often], counts.numpy()[~often].sum()], [*expected[often], expected[~often].sum()]
        ).pvalue
        > 1e-3
    )


def test_the_levels_that_come_out_are_exact():
    x = (torch.arange(256, dtype=torch.float64) / 255).view(1, 1, 16, 16).repeat(2, 3, 1, 1)
    kept = noisy(x, alias_table(CHANNELS["keep"]), torch.arange(2), RNG)
    assert torch.equal(kept.mul(255).floor().div(255), x.float())


def test_an_odd_number_of_pixels_and_any_batch():
    x = torch.randint(0, 256, (512, 3, 5, 5), generator=torch.Generator().manual_seed(0)).double() / 255
    table, ids = alias_table(CHANNELS["wide"]), torch.arange(512)
    whole = noisy(x, table, ids, RNG)
    assert torch.equal(whole[100:101], noisy(x[100:101], table, ids[100:101], RNG))
    assert torch.equal(whole.flip(0), noisy(x.flip(0), table, ids.flip(0), RNG))


@pytest.fixture(scope="module")
def images(shared_data) -> np.ndarray:
    return np.load(shared_data / "cifar10-slice.npz")["test_images"][:500]


def corrupted(name: str, images: np.ndarray, severity: int) -> np.ndarray:
    x = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().float() / 255
    changed = CORRUPTIONS.parse(f"{name}(family='imagenet')")(x, severity, torch.arange(len(x)), RNG)
    return changed.mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def by_the_package(name: str, images: np.ndarray, severity: int) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package = pytest.importorskip("imagecorruptions")
        np.random.seed(severity)  # noqa: NPY002  (the package draws from numpy's global generator)
        return np.stack([package.corrupt(image, severity, name.replace("-", "_")) for image in images])


@pytest.mark.parametrize("severity", range(1, 6))
@pytest.mark.parametrize("name", NOISES)
def test_the_change_is_the_packages_in_mean_and_deviation(name, severity, images):
    moments = []
    for levels in (corrupted(name, images, severity), by_the_package(name, images, severity)):
        change = (levels.astype(float) - images).reshape(len(images), -1)
        squares = change.var(axis=1)
        moments.append([change.mean(), change.mean(axis=1).std(), squares.mean() ** 0.5, squares.std()])
    (mean, mean_spread, deviation, spread), (its_mean, _, its_deviation, _) = moments
    # The images are the same, so that these errors are larger than those of the difference.
    root = (len(images) / 2) ** 0.5
    assert mean == pytest.approx(its_mean, abs=max(0.03 * abs(its_mean), 4 * mean_spread / root))
    assert deviation == pytest.approx(its_deviation, abs=max(0.03 * its_deviation, 2 * spread / deviation / root))


@pytest.mark.parametrize("severity", range(1, 6))
@pytest.mark.parametrize("name", NOISES)
@pytest.mark.parametrize("level", [40, 200])
def test_one_level_becomes_what_the_package_makes_of_it(name, level, severity):
    plain = np.full((30, 32, 32, 3), level, dtype=np.uint8)
    found, expected = (
        np.bincount(make(name, plain, severity).ravel(), minlength=256) for make in (corrupted, by_the_package)
    )
    often = found + expected > 20
    table = [[*counts[often], counts[~often].sum() + 1] for counts in (found, expected)]
    assert stats.chi2_contingency(table).pvalue > 1e-4
