import math

import numpy as np
import pytest
import torch

from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS
from robusteval.corruptions.checkerboard_cutout import MOST_FIELDS, _board
from robusteval.data import DATA

BOARD = CORRUPTIONS.parse("checkerboard-cutout")
RNG = Stream.seeded(0)
WHITE = torch.ones(500, 3, 32, 32)


def test_the_constants_are_the_originals():
    assert BOARD.families == {"cifar10-c-bar": (1.0, 2.0, 3.0, 4.0, 5.0)}


def greyed(image: np.ndarray, sample: int, severity: int) -> np.ndarray:
    """The original's rule, pixel by pixel, on the numbers that the module draws."""
    side, ids = max(image.shape), torch.tensor([sample])
    rng = RNG.stream("corruption", "checkerboard-cutout", severity)
    turn, share = rng.stream("board").uniform(ids, (2,), dtype=torch.float64)[0].tolist()
    angle, scale = turn * math.tau, max((0.1 + 0.15 * share) * side, 1)
    number = int(4 * side // scale)
    fields = rng.stream("fields").uniform(ids, (MOST_FIELDS, MOST_FIELDS), dtype=torch.float64)[0].numpy()
    board = fields[:number, :number] < severity / 10
    out = image.copy()
    for y, x in np.ndindex(*image.shape):
        first = (math.cos(angle) * y + math.sin(angle) * x) / scale
        second = (-math.sin(angle) * y + math.cos(angle) * x) / scale
        # Python's indices below zero count from the end.
        if int(first % 2) == int(second % 2) and board[int(first), int(second)]:
            out[y, x] = 128
    return out


@pytest.mark.parametrize("severity", range(1, 6))
@pytest.mark.parametrize("size", [(28, 28), (8, 8), (10, 28)])
def test_it_is_the_originals_rule(severity, size):
    clothes = DATA.parse("fashion-mnist").split("test").first(8).batch()
    images = clothes.x[..., : size[0], : size[1]]
    found = BOARD(images, severity, clothes.ids, RNG).mul(255).round()
    for row, sample in enumerate(clothes.ids.tolist()):
        before = images[row, 0].mul(255).round().numpy()
        assert np.array_equal(found[row, 0].numpy(), greyed(before, sample, severity))


def test_places_on_the_board():
    x, quarter = torch.zeros(1, 3, 3, 2, dtype=torch.float64), torch.full((1, 1, 1), math.pi / 2, dtype=torch.float64)
    column, row = _board(x, quarter, torch.full((1, 1, 1), 2.0, dtype=torch.float64))
    assert column[0].numpy() == pytest.approx(np.array([[0, 0.5], [0, 0.5], [0, 0.5]]))
    assert row[0].numpy() == pytest.approx(np.array([[0, 0], [-0.5, -0.5], [-1, -1]]))


@pytest.mark.parametrize("severity", range(1, 6))
def test_half_the_fields_are_grey_with_the_probability(severity):
    found = BOARD(WHITE, severity, torch.arange(500), RNG).mul(255).round()
    assert found.unique().tolist() == [128, 255]
    shares = (found[:, 0] == 128).double().mean(dim=(1, 2))
    error = shares.std() / math.sqrt(500)
    # The first field is white or black for all boards alike, which moves the share a little from one half.
    assert abs(shares.mean() - severity / 20) < 4 * error + 0.006 * severity


def test_fields_are_squares_of_a_tenth_to_a_quarter():
    found = BOARD(WHITE, 5, torch.arange(500), RNG)[:, 0] < 1
    edges = (found[:, 1:] != found[:, :-1]).double().mean()
    assert 0.02 < edges < 0.15
