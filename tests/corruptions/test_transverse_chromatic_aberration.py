import numpy as np
import pytest
import torch
from scipy import ndimage

from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS

ABERRATION = CORRUPTIONS.parse("transverse-chromatic-aberration")
RNG = Stream.seeded(0)
SCALES = ((1, 1.025, 1.05), (1, 1.05, 1.1), (1, 1.125, 1.25), (1, 1.225, 1.45), (1, 1.25, 1.5))


@pytest.mark.parametrize("severity", range(1, 6))
@pytest.mark.parametrize("side", [32, 28, 8])
def test_it_is_scipys_zoom(severity, side, shared_data):
    images = np.load(shared_data / "cifar10-slice.npz")["test_images"][:40, :side, :side]
    x, ids = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255, torch.arange(40)
    found = ABERRATION(x, severity, ids, RNG).mul(255).round().permute(0, 2, 3, 1).numpy()
    order = RNG.stream("corruption", "transverse-chromatic-aberration", severity).permutation(ids, 3).tolist()
    exact = np.zeros(images.shape)
    for row, channel in np.ndindex(40, 3):
        scale = SCALES[severity - 1][order[row][channel]]
        enlarged = ndimage.zoom(images[row, :, :, channel], scale, prefilter=False)
        edge = (len(enlarged) - side) // 2
        exact[row, :, :, channel] = enlarged[edge : edge + side, edge : edge + side]
    assert (np.abs(found - exact) <= 1).all()
    # Half way between two levels, which is often in small images, the last bit decides.
    assert (found == exact).mean() > (0.995 if side == 32 else 0.98)


def test_the_constants_are_the_originals():
    assert ABERRATION.families == {"cifar10-c-bar": (1.0, 2.0, 5.0, 9.0, 10.0)}


def test_a_pixel_by_hand():
    x = torch.zeros(1, 3, 9, 9)
    x[:, :, 4, 4] = 216 / 255
    found = ABERRATION(x, 1, torch.tensor([0]), RNG).mul(255).round()[0]
    # At so small a scale 9 pixels stay 9 in all channels, and the spline without its filter blurs by 1, 4, 1.
    assert found[0, 3:6, 3:6].tolist() == [[6, 24, 6], [24, 96, 24], [6, 24, 6]]
    assert torch.equal(found[:1].expand_as(found), found)


def test_all_orders_of_the_channels_come_up_alike():
    slope = (torch.arange(32) * 8.0 / 255).expand(600, 3, 32, 32)
    found = ABERRATION(slope, 5, torch.arange(600), RNG)[:, :, 16, 0]
    orders, counts = found.argsort(dim=1).unique(dim=0, return_counts=True)
    assert len(orders) == 6
    assert counts.min() > 60
    assert torch.equal(found.sort(dim=1).values, found[:1].sort(dim=1).values.expand_as(found))
