import torch

from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS
from robusteval.data import DATA

STRIPE = CORRUPTIONS.parse("stripe")


def test_the_first_and_the_last_seven_columns_of_28_are_inverted():
    clothes = DATA.parse("fashion-mnist").split("test").first(50).batch()
    before = clothes.x.mul(255).round()
    exact = before.clone()
    exact[..., :7] = 255 - before[..., :7]
    exact[..., 21:] = 255 - before[..., 21:]
    assert torch.equal(STRIPE(clothes.x, 1, clothes.ids, Stream.seeded(0)).mul(255).round(), exact)


def test_other_widths_keep_the_middle_half():
    found = STRIPE(torch.zeros(1, 3, 4, 10), 1, torch.tensor([0]), Stream.seeded(0))
    assert found[0, 1, 2].tolist() == [1, 1, 0, 0, 0, 0, 0, 0, 1, 1]
