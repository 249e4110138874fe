import math

import numpy as np
import pytest
import torch

from robusteval.corruptions.strokes import stroke


def drawn(c0: float, r0: float, c1: float, r1: float, size: tuple[int, int] = (28, 28)) -> np.ndarray:
    c0, r0, c1, r1 = (torch.tensor([value], dtype=torch.float64) for value in (c0, r0, c1, r1))
    return stroke((c0, r0), (c1, r1), size, 2.3)[0].numpy()


@pytest.mark.parametrize(
    "ends", [(0, 3, 27, 20), (2, 4.5, 4.25, 2), (3.5, 10, 9, 10), (0, 26, 27, 0), (20, 5, 40.2, 9)]
)
def test_a_stroke_is_the_originals_formula_pixel_by_pixel(ends):
    c0, r0, c1, r1 = ends
    found = drawn(*ends)
    for row, column in np.ndindex(28, 28):
        distance = abs(row - (r0 + (r1 - r0) / (c1 - c0) * (column - c0)))
        value = max(0.0, 1 + math.log(1 - distance / 2.3)) if distance < 2.3 - 1e-10 else 0.0
        value *= math.floor(c0) <= column < math.ceil(c1)
        assert found[row, column] == pytest.approx(value, abs=1e-12)


def test_a_level_stroke_by_hand():
    found = drawn(1, 2, 3, 2, (5, 5))
    side = 1 + math.log(1 - 1 / 2.3)
    exact = np.zeros((5, 5))
    exact[:, 1:3] = np.array([0, side, 1, side, 0])[:, None]
    assert found == pytest.approx(exact, abs=1e-12)


def test_a_stroke_within_a_column_is_empty():
    assert drawn(2.5, 1, 2.5, 9).max() == 0
    assert drawn(2, 2, 2, 2).max() == 0
