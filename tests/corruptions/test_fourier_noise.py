import cmath
import math

import numpy as np
import pytest
import torch

from robusteval.core.rng import Stream
from robusteval.corruptions.fourier_noise import fourier_noise

RNG = Stream.seeded(0)
IDS = torch.tensor([3, 8])


def phases_of(sample: int, channel: int, side: int, channels: int) -> np.ndarray:
    """The phases of one map, place by place: each is drawn once for itself and its mirror image."""
    ids, phases = torch.tensor([sample]), np.full((side, side), np.nan)
    left = RNG.uniform(ids, (channels, side, side // 2), dtype=torch.float64)[0, channel].numpy()
    for y, x in np.ndindex(side, side // 2):
        phases[y, x] = phases[side - 1 - y, side - 1 - x] = math.tau * left[y, x]
    if side % 2:
        upper = RNG.stream("middle").uniform(ids, (channels, side // 2, 1), dtype=torch.float64)[0, channel].numpy()
        for y in range(side // 2):
            phases[y, side // 2] = phases[side - 1 - y, side // 2] = math.tau * upper[y, 0]
        phases[side // 2, side // 2] = 0
    return phases


def sum_of_waves(phases: np.ndarray, power: float) -> np.ndarray:
    """The real part of all waves added, wave by wave, brought to the standard deviation 1."""
    side = len(phases)
    total = np.zeros((side, side), dtype=complex)
    for y, x in np.ndindex(side, side):
        distance = math.hypot(y - side / 2, x - side / 2)
        wave = cmath.exp(1j * phases[y, x]) * (distance**power)
        # The spectrum is rolled by half a side, so that its middle becomes the frequency 0.
        down = np.exp(2j * np.pi * np.arange(side) * ((y + side // 2) % side) / side)
        right = np.exp(2j * np.pi * np.arange(side) * ((x + side // 2) % side) / side)
        total += wave * down[:, None] * right
    noise = total.real
    return noise / noise.std()


@pytest.mark.parametrize("size", [(6, 6), (7, 7), (6, 4), (3, 7)])
def test_it_is_the_sum_of_its_waves(size):
    found = fourier_noise(lambda frequency: frequency**1.5, 2, size, IDS, RNG)
    assert found.shape == (2, 2, *size)
    for row, channel in np.ndindex(2, 2):
        exact = sum_of_waves(phases_of(int(IDS[row]), channel, max(size), 2), 1.5)
        assert found[row, channel].numpy() == pytest.approx(exact[: size[0], : size[1]], abs=1e-10)


def test_waves_of_one_frequency_make_a_map_of_two_values():
    def middle(frequency):
        return (frequency == 2).double()  # the wave that changes sign from pixel to pixel, along one axis

    noise = fourier_noise(middle, 1, (4, 4), torch.arange(20), RNG)
    assert noise.square().mean(dim=(1, 2, 3)).tolist() == pytest.approx([1.0] * 20)
    assert (noise + noise.roll(1, 2) + noise.roll(1, 3) + noise.roll((1, 1), (2, 3))).abs().max() < 1e-12


def test_channels_and_images_have_their_own():
    noise = fourier_noise(lambda frequency: frequency, 3, (32, 32), torch.arange(40), RNG).flatten(2)
    assert noise.std(dim=2, unbiased=False).flatten().tolist() == pytest.approx([1.0] * 120)
    for one, other in ((noise[:, 0], noise[:, 1]), (noise[1:], noise[:-1])):
        correlation = torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1]
        assert abs(correlation) < 4 / math.sqrt(one.numel())


@pytest.mark.parametrize("power", [1.0, -1.0])
def test_on_average_it_has_the_spectrum(power):
    noise = fourier_noise(lambda frequency: (frequency + 1) ** power, 1, (16, 16), torch.arange(2000), RNG)[:, 0]
    spectrum = torch.fft.fft2(noise).abs().square().mean(dim=0)
    expected = torch.tensor([[(math.hypot(y, x) + 1) ** (2 * power) for x in range(5)] for y in range(5)])
    ratio = spectrum[:5, :5] / expected
    assert (ratio / ratio.mean() - 1).abs().max() < 0.25


def test_the_same_bits_in_any_batch():
    for side in (31, 32):
        whole = fourier_noise(lambda frequency: frequency, 1, (side, side), torch.arange(512), RNG)
        for start in (0, 511):
            one = fourier_noise(lambda frequency: frequency, 1, (side, side), torch.arange(start, start + 1), RNG)
            assert torch.equal(one, whole[start : start + 1])
