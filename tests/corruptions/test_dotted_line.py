import numpy as np
import torch

from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS
from robusteval.data import DATA

LINE = CORRUPTIONS.parse("dotted-line")
RNG = Stream.seeded(0)


def original(r0: int, r1: int) -> np.ndarray:
    """The line of MNIST-C between two rows, column by column."""
    line = np.zeros((28, 28))
    for column in range(27):
        if column // 2 % 2 == 1:
            distance = np.abs(np.arange(28) - (r0 + (r1 - r0) / 27 * column)).clip(0, 2.3 - 1e-10)
            line[:, column] = (1 + np.log(1 - distance / 2.3)).clip(0, 1)
    return line


LINES = {(r0, r1): original(r0, r1) for r0, r1 in np.ndindex(27, 27)}


def test_every_line_is_one_of_the_originals_and_all_rows_are_used():
    ids = torch.arange(3000)
    found = LINE(torch.zeros(3000, 1, 28, 28), 1, ids, RNG).mul(255).round()[:, 0].numpy()
    levels = {np.round(np.float32(line * 255)).tobytes(): rows for rows, line in LINES.items()}
    assert len(levels) == 27 * 27
    rows = np.array([levels[image.tobytes()] for image in found])
    assert sorted(set(rows[:, 0])) == sorted(set(rows[:, 1])) == list(range(27))
    assert np.abs(rows.mean(axis=0) - 13).max() < 0.6
    assert abs(np.corrcoef(rows.T)[0, 1]) < 0.08


def test_the_line_is_added_to_the_image():
    clothes = DATA.parse("fashion-mnist").split("test").first(20).batch()
    found = LINE(clothes.x, 1, clothes.ids, RNG).mul(255).round()[:, 0].numpy()
    stack = np.stack(list(LINES.values()))
    for before, after in zip(clothes.x.mul(255).round()[:, 0].double().numpy(), found, strict=True):
        exact = np.round(np.float32((before / 255.0 + stack).clip(0, 1) * 255))
        assert (np.abs(exact - after).max(axis=(1, 2)) <= 1).sum() == 1
        assert ((exact == after).mean(axis=(1, 2))).max() > 0.998


def test_other_widths_end_before_the_last_column():
    lit = LINE(torch.zeros(50, 3, 9, 12), 1, torch.arange(50), RNG).amax(dim=(0, 1, 2)) > 0.9
    assert lit.tolist() == [False, False, True, True, False, False, True, True, False, False, True, False]
