import numpy as np
import pytest
import torch
from scipy import stats

from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS

# make_cifar_c.py, make_tinyimagenet_c.py and imagecorruptions, severity 1 to 5
PHOTONS = {
    "cifar": (500, 250, 100, 75, 50),
    "tiny-imagenet": (250, 100, 50, 30, 15),
    "imagenet": (60, 25, 12, 5, 3),
}


def test_the_constants_are_the_originals():
    assert CORRUPTIONS.classes["shot-noise"].families == PHOTONS | {"mnist-c": (3,)}


@pytest.mark.parametrize("family", PHOTONS)
@pytest.mark.parametrize("severity", range(1, 6))
@pytest.mark.parametrize("level", [1, 90, 254])
def test_levels_are_poisson_numbers_of_photons(family, severity, level):
    shot = CORRUPTIONS.parse(f"shot-noise(family={family!r})")
    found = shot(torch.full((20, 3, 32, 32), level / 255), severity, torch.arange(20), Stream.seeded(0))
    levels = found.mul(255).round().to(torch.int64).flatten().numpy()
    photons = PHOTONS[family][severity - 1]
    counts = np.arange(4 * photons + 40)
    expected = np.zeros(256)
    its_levels = np.uint8(np.clip(counts / photons, 0, 1) * 255)
    np.add.at(expected, its_levels, stats.poisson(level / 255 * photons).pmf(counts) * len(levels))
    seen = np.bincount(levels, minlength=256)
    assert (seen[expected < 1e-6] == 0).all()
    often = expected > 10
    table = [*seen[often], seen[~often].sum()], [*expected[often], max(len(levels) - expected[often].sum(), 1e-6)]
    if table[1][-1] < 5:
        assert table[0][-1] < 30
        table = seen[often], expected[often] * (seen[often].sum() / expected[often].sum())
    assert len(table[0]) == 1 or stats.chisquare(*table).pvalue > 1e-4


def test_black_stays_black():
    black = torch.zeros(4, 1, 28, 28)
    assert torch.equal(CORRUPTIONS.parse("shot-noise")(black, 5, torch.arange(4), Stream.seeded(0)), black)


def test_three_photons_are_the_levels_0_85_170_and_255():
    shot = CORRUPTIONS.parse("shot-noise(family='imagenet')")
    found = shot(torch.rand(50, 3, 32, 32), 5, torch.arange(50), Stream.seeded(0))
    assert found.mul(255).round().unique().tolist() == [0, 85, 170, 255]
