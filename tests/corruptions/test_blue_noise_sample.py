import numpy as np
import pytest
import torch
from scipy import fft

from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS
from robusteval.data import DATA

BLUE = CORRUPTIONS.parse("blue-noise-sample")
RNG = Stream.seeded(0)
THRESHOLDS = (-2.29, -2.08, -1.87, -1.45, -1.24)  # 0.3 * constant - 2.5
WHITE = torch.ones(200, 3, 32, 32)


def test_the_constants_are_the_originals():
    assert BLUE.families == {"cifar10-c-bar": (0.7, 1.4, 2.1, 3.5, 4.2)}


@pytest.mark.parametrize("severity", range(1, 6))
def test_it_is_the_originals_formula(severity):
    clothes = DATA.parse("fashion-mnist").split("test").first(5).batch()
    found = BLUE(clothes.x, severity, clothes.ids, RNG).mul(255).round()
    place = np.indices((28, 28)) - 14
    for row in range(5):
        rng = RNG.stream("corruption", "blue-noise-sample", severity)
        left = rng.uniform(clothes.ids[row : row + 1], (28, 14), dtype=torch.float64)[0].numpy()
        phases = 2 * np.pi * np.hstack([left, left[::-1, ::-1]])
        waves = np.hypot(*place) * np.exp(1j * phases)
        noise = fft.ifft2(fft.ifftshift(waves)).real
        kept = noise / noise.std() > THRESHOLDS[severity - 1]
        assert np.array_equal(found[row, 0].numpy(), clothes.x[row, 0].mul(255).round().numpy() * kept)


@pytest.mark.parametrize("severity", range(1, 6))
def test_pixels_are_kept_or_put_out_in_all_channels(severity):
    found = BLUE(WHITE, severity, torch.arange(200), RNG)
    assert found.unique().tolist() == [0, 1]
    assert torch.equal(found[:, :1].expand_as(found), found)
    share = torch.special.ndtr(torch.tensor(THRESHOLDS[severity - 1])).item()
    assert (found == 0).double().mean().item() == pytest.approx(share, rel=0.05)


def test_neighbours_are_rarely_put_out_together():
    black = BLUE(WHITE, 5, torch.arange(200), RNG)[:, 0] == 0
    together = (black[:, 1:] & black[:, :-1]).double().mean()
    assert together < 0.5 * black.double().mean() ** 2


def test_more_is_put_out_at_each_severity():
    shares = [(BLUE(WHITE, severity, torch.arange(200), RNG) == 0).double().mean() for severity in range(1, 6)]
    assert shares == sorted(set(shares))
