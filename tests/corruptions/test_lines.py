import math

import numpy as np
import pytest
import torch

from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS
from robusteval.corruptions.lines import _ink

LINES = CORRUPTIONS.parse("lines")
RNG = Stream.seeded(0)
COUNTS = (1, 3, 4, 6, 8)


def zingl(r0: int, c0: int, r1: int, c1: int) -> dict[tuple[int, int], float]:
    """A line from end to end, one step after the other (Zingl 2012, figure 12), with what it covers of each pixel."""
    height, width = abs(r1 - r0), abs(c1 - c0)
    down, right = (1 if r0 < r1 else -1), (1 if c0 < c1 else -1)
    length, error, covered = math.hypot(height, width) or 1.0, width - height, {}
    while True:
        covered[r0, c0] = 1 - abs(error - width + height) / length
        before, column = error, c0
        if 2 * before >= -width:
            if c0 == c1:
                break
            if before + height < length:
                covered[r0 + down, c0] = 1 - (before + height) / length
            error, c0 = error - height, c0 + right
        if 2 * before <= height:
            if r0 == r1:
                break
            if width - before < length:
                covered[r0, column + right] = 1 - (width - before) / length
            error, r0 = error + width, r0 + down
    return {pixel: share for pixel, share in covered.items() if share > 0}


def whole(*numbers: int) -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(torch.tensor([number], dtype=torch.float64) for number in numbers)


@pytest.mark.parametrize("end", [(2, 5), (5, 2), (0, 6), (6, 0), (6, 6), (0, 0), (7, 6), (1, 7)])
def test_a_line_is_zingls(end):
    for r0, r1 in ((0, end[0]), (end[0], 0)):
        for c0, c1 in ((0, end[1]), (end[1], 0)):
            found = _ink(whole(r0, c0), whole(r1, c1), (9, 9))[0].numpy()
            exact = np.zeros((9, 9))
            for pixel, share in zingl(r0, c0, r1, c1).items():
                exact[pixel] = share
            assert found == pytest.approx(exact, abs=1e-6)


def test_a_diagonal_by_hand():
    found = _ink(whole(0, 2), whole(2, 0), (3, 4))[0].numpy()
    half = 1 - math.sqrt(0.5)
    assert found == pytest.approx(np.array([[0, half, 1, 0], [half, 1, half, 0], [1, half, 0, 0]]), abs=1e-6)


@pytest.mark.parametrize("severity", range(1, 6))
def test_it_is_the_originals_rule(severity, shared_data):
    images = np.load(shared_data / "cifar10-slice.npz")["test_images"][:8]
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    found = LINES(x, severity, torch.arange(8), RNG).mul(255).round().permute(0, 2, 3, 1).numpy()
    for row in range(8):
        rng, ids, exact = RNG.stream("corruption", "lines", severity), torch.tensor([row]), images[row].copy()
        angle, spread = rng.stream("angle").uniform(ids, (2,), dtype=torch.float64)[0].tolist()
        for line in range(COUNTS[severity - 1]):
            y, x0, turn = rng.stream("line", line).uniform(ids, (3,), dtype=torch.float64)[0].tolist()
            way = 2 * math.pi * (angle + (0.1 + 0.9 * spread) * (turn - 0.5))
            down, right = 32 * math.cos(way), 32 * math.sin(way)
            ends = (32 * y - down, 32 * x0 - right, 32 * y + down, 32 * x0 + right)
            for (i, j), share in zingl(*(int(end) for end in ends)).items():
                if 0 <= i < 32 and 0 <= j < 32:
                    # Cut to bytes after each line.
                    exact[i, j] = np.floor((1 - share) * exact[i, j].astype(float) + share * 128)
        assert (np.abs(found[row] - exact) <= 1).all()
        assert (found[row] == exact).mean() > 0.995


def test_the_constants_are_the_originals():
    assert LINES.families == {"cifar10-c-bar": (0.5, 1.0, 1.5, 2.0, 2.5)}


def test_more_is_covered_at_each_severity():
    white = torch.ones(200, 3, 32, 32)
    covered = [(LINES(white, severity, torch.arange(200), RNG) < 1).double().mean() for severity in range(1, 6)]
    assert covered == sorted(set(covered))
    assert LINES(white, 5, torch.arange(200), RNG).min().mul(255).round() == 128
