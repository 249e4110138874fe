import math

import pytest
import torch
from scipy import stats

from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS

# make_cifar_c.py, make_tinyimagenet_c.py and imagecorruptions, severity 1 to 5
DEVIATIONS = {
    "cifar": (0.04, 0.06, 0.08, 0.09, 0.10),
    "tiny-imagenet": (0.04, 0.08, 0.12, 0.15, 0.18),
    "imagenet": (0.08, 0.12, 0.18, 0.26, 0.38),
}
MIDDLE = torch.full((60, 3, 32, 32), 128 / 255)


def changes(severity: int, family: str = "cifar") -> torch.Tensor:
    noise = CORRUPTIONS.parse(f"gaussian-noise(family={family!r})")
    corrupted = noise(MIDDLE, severity, torch.arange(60), Stream.seeded(0))
    # Truncation takes half a level on average.
    return (corrupted.double() * 255).round() + 0.5 - 128


@pytest.mark.parametrize("family", DEVIATIONS)
@pytest.mark.parametrize("severity", range(1, 6))
def test_noise_has_its_deviation_and_no_mean(family, severity):
    found = changes(severity, family)
    deviation = 255 * DEVIATIONS[family][severity - 1]
    clipped = stats.norm(scale=deviation)
    mean = clipped.expect(lambda change: min(max(change, -128), 128), -2000, 2000)
    square = clipped.expect(lambda change: min(max(change, -128), 128) ** 2, -2000, 2000)
    n, expected = found.numel(), math.sqrt(square - mean**2 + 1 / 12)
    assert found.std().item() == pytest.approx(expected, abs=4 * expected / math.sqrt(2 * n) + 0.002 * deviation)
    assert found.mean().item() == pytest.approx(mean, abs=4 * expected / math.sqrt(n))


def test_noise_is_normal_and_independent_over_pixels_and_channels():
    found = changes(5)
    jittered = found + Stream.seeded(1).uniform(torch.arange(60), found.shape[1:]) - 0.5
    assert stats.kstest(jittered.flatten().numpy() / 25.5, stats.norm().cdf).pvalue > 1e-3
    for one, other in ((found[:, 0], found[:, 1]), (found[..., 1:], found[..., :-1]), (found[1:], found[:-1])):
        correlation = torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1]
        assert abs(correlation) < 4 / math.sqrt(one.numel())
