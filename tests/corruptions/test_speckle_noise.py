import pytest
import torch
from scipy import stats

from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS

# make_cifar_c.py, make_tinyimagenet_c.py and imagecorruptions, severity 1 to 5
DEVIATIONS = {
    "cifar": (0.06, 0.1, 0.12, 0.16, 0.2),
    "tiny-imagenet": (0.15, 0.2, 0.25, 0.3, 0.35),
    "imagenet": (0.15, 0.2, 0.35, 0.45, 0.6),
}


def test_the_constants_are_the_originals():
    assert CORRUPTIONS.classes["speckle-noise"].families == DEVIATIONS


@pytest.mark.parametrize("family", DEVIATIONS)
@pytest.mark.parametrize("severity", range(1, 6))
@pytest.mark.parametrize("level", [30, 120])
def test_the_deviation_is_in_proportion_to_the_value(family, severity, level):
    speckle = CORRUPTIONS.parse(f"speckle-noise(family={family!r})")
    found = speckle(torch.full((30, 3, 32, 32), level / 255), severity, torch.arange(30), Stream.seeded(0))
    levels = found.mul(255).round().flatten()
    deviation = DEVIATIONS[family][severity - 1] * level
    for threshold in (level - deviation, level, level + deviation, level + 1.5 * deviation):
        whole = round(threshold)
        if 0 < whole <= 255:
            below = int((levels < whole).sum())
            assert stats.binomtest(below, len(levels), stats.norm(level, deviation).cdf(whole)).pvalue > 1e-4


def test_black_stays_black():
    black = torch.zeros(4, 1, 28, 28)
    assert torch.equal(CORRUPTIONS.parse("speckle-noise")(black, 5, torch.arange(4), Stream.seeded(0)), black)
