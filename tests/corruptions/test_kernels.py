import numpy as np
import pytest
import torch
from scipy import ndimage, signal

from robusteval.corruptions import kernels

LEVELS = torch.randint(0, 256, (3, 3, 12, 17), generator=torch.Generator().manual_seed(0)).double()


def test_whole_weights_keep_their_sum():
    weights = kernels.whole_weights(torch.tensor([0.1, 0.3, 0.6], dtype=torch.float64), 10, peak=2)
    assert (weights * 1024).tolist() == [102, 307, 615]


@pytest.mark.parametrize("sigma", [0.05, 0.4, 1, 2.3, 6])
@pytest.mark.parametrize("size", [1, 8, 32])
def test_the_gaussian_operator_is_scipys(sigma, size):
    expected = ndimage.gaussian_filter1d(np.eye(size), sigma, axis=0, mode="nearest")
    found = kernels.gaussian_operator(sigma, size)
    assert found.numpy() == pytest.approx(expected, abs=1e-5)
    assert (found.sum(dim=1) == 1).all()


@pytest.mark.parametrize("source", range(2, 70, 3))
def test_the_linear_operator_is_scipys(source):
    for target in range(source, source + 12):
        expected = ndimage.zoom(np.eye(source), (target / source, 1), order=1)
        assert kernels.linear_operator(source, target).numpy() == pytest.approx(expected, abs=1e-5)


def test_separable_sums_have_no_rounding():
    rows, columns = kernels.gaussian_operator(1.7, 12), kernels.gaussian_operator(0.9, 17)
    found = kernels.separable(LEVELS, rows, columns)[0, 0]
    weights = [[[round(w * 2**22) for w in line] for line in operator.tolist()] for operator in (rows, columns)]
    image = LEVELS[0, 0].long().tolist()
    for i, j in ((0, 0), (5, 9), (11, 16)):
        terms = (weights[0][i][y] * weights[1][j][x] * image[y][x] for y in range(12) for x in range(17))
        assert int(found[i, j].item() * 2**44) == sum(terms)


@pytest.mark.parametrize("reach", [1, 4, 10, 30])
def test_convolving_mirrors_the_border(reach):
    curve = torch.exp(-0.5 * (torch.arange(-reach, reach + 1).double() / reach) ** 2)
    kernel = torch.outer(curve, curve) / curve.sum() ** 2
    bordered = np.pad(LEVELS.numpy(), [(0, 0), (0, 0), (reach, reach), (reach, reach)], mode="reflect")
    expected = signal.fftconvolve(bordered, kernel.numpy()[None, None], mode="valid")
    assert kernels.convolve(LEVELS, kernel).numpy() == pytest.approx(expected, abs=0.5)


def test_convolving_has_no_rounding_but_the_last():
    disk = torch.tensor([[0, 1, 0], [1, 1, 1], [0, 1, 0]], dtype=torch.float64) / 5
    image = LEVELS[:1, :1]
    total = image.clone()
    for shift, axis in ((1, 2), (-1, 2), (1, 3), (-1, 3)):
        total += image.roll(shift, axis)
    inner = (..., slice(1, -1), slice(1, -1))
    assert torch.equal(kernels.convolve(image, disk)[inner].mul(5).round(), total[inner])
    found = kernels.convolve(LEVELS.repeat(40, 1, 1, 1), disk)
    assert torch.equal(found[:3], kernels.convolve(LEVELS, disk))
    assert torch.equal(found.reshape(40, 3, 3, 12, 17), found[:3].expand(40, -1, -1, -1, -1))
