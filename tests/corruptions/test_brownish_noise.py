import numpy as np
import pytest
import torch
from scipy import fft

from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS

BROWN = CORRUPTIONS.parse("brownish-noise")
RNG = Stream.seeded(0)
STRENGTHS = (16.0, 25.6, 35.2, 41.6, 44.8)  # 6.4 levels times the constant
MIDDLE = torch.full((100, 3, 32, 32), 128 / 255)


def test_the_constants_are_the_originals():
    assert BROWN.families == {"cifar10-c-bar": (2.5, 4.0, 5.5, 6.5, 7.0)}


@pytest.mark.parametrize("severity", range(1, 6))
def test_it_is_the_originals_formula(severity, shared_data):
    images = np.load(shared_data / "cifar10-slice.npz")["test_images"][:5]
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    found = BROWN(x, severity, torch.arange(5), RNG).mul(255).round().permute(0, 2, 3, 1).numpy()
    distance = np.hypot(*(np.indices((32, 32)) - 16))
    for row in range(5):
        rng = RNG.stream("corruption", "brownish-noise", severity)
        left = rng.uniform(torch.tensor([row]), (3, 32, 16), dtype=torch.float64)[0].numpy()
        for channel in range(3):
            phases = 2 * np.pi * np.hstack([left[channel], left[channel, ::-1, ::-1]])
            noise = fft.ifft2(fft.ifftshift(np.exp(1j * phases) / (distance**2 + 1))).real
            exact = images[row, :, :, channel] + STRENGTHS[severity - 1] * noise / noise.std()
            levels, near = np.clip(np.floor(exact), 0, 255), np.abs(exact - np.rint(exact)) < 1e-9
            assert ((found[row, :, :, channel] == levels) | near).all()


@pytest.mark.parametrize("severity", range(1, 6))
def test_every_channel_gets_its_own_noise_of_the_deviation(severity):
    change = BROWN(MIDDLE, severity, torch.arange(100), RNG).double().mul(255).round() - 128
    unclipped = change.flatten(2)[(change.abs().flatten(2) < 126).all(dim=2)]
    assert unclipped.std(dim=1, unbiased=False).numpy() == pytest.approx(STRENGTHS[severity - 1], rel=0.02)
    one, other = change[:, 0].flatten(), change[:, 1].flatten()
    # Clouds are as wide as the image, so a channel counts as about one independent number.
    assert abs(torch.corrcoef(torch.stack([one, other]))[0, 1]) < 4 / np.sqrt(100)


def test_neighbours_are_alike():
    change = BROWN(MIDDLE, 1, torch.arange(100), RNG).double()
    pairs = torch.stack([change[..., 1:].flatten(), change[..., :-1].flatten()])
    assert torch.corrcoef(pairs)[0, 1] > 0.9
