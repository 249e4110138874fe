import pytest
import torch
from scipy import stats

from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS

# make_cifar_c.py, make_tinyimagenet_c.py and imagecorruptions, severity 1 to 5
AMOUNTS = {
    "cifar": (0.01, 0.02, 0.03, 0.05, 0.07),
    "tiny-imagenet": (0.01, 0.02, 0.05, 0.08, 0.14),
    "imagenet": (0.03, 0.06, 0.09, 0.17, 0.27),
}


def test_the_constants_are_the_originals():
    assert CORRUPTIONS.classes["impulse-noise"].families == AMOUNTS | {"mnist-c": (0.17,)}


@pytest.mark.parametrize("family", AMOUNTS)
@pytest.mark.parametrize("severity", range(1, 6))
def test_the_share_is_replaced_by_black_and_white_alike_and_the_rest_kept(family, severity):
    levels = torch.randint(1, 255, (100, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    impulse = CORRUPTIONS.parse(f"impulse-noise(family={family!r})")
    found = impulse(levels.float() / 255, severity, torch.arange(100), Stream.seeded(0)).mul(255).round()
    black, white = int((found == 0).sum()), int((found == 255).sum())
    assert int((found == levels).sum()) == levels.numel() - black - white
    amount = AMOUNTS[family][severity - 1]
    assert stats.binomtest(black + white, levels.numel(), amount).pvalue > 1e-4
    assert stats.binomtest(black, black + white, 0.5).pvalue > 1e-4


def test_channels_and_neighbours_are_struck_on_their_own():
    struck = (
        CORRUPTIONS.parse("impulse-noise(family='imagenet')")(
            torch.full((100, 3, 32, 32), 0.4), 5, torch.arange(100), Stream.seeded(0)
        )
        != torch.tensor(102 / 255)
    ).double()
    for one, other in ((struck[:, 0], struck[:, 1]), (struck[..., 1:], struck[..., :-1]), (struck[1:], struck[:-1])):
        correlation = torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1]
        assert abs(correlation) < 4 / one.numel() ** 0.5
