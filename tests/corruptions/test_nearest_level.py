import torch

from robusteval.corruptions.nearest_level import nearest_level


def test_levels_are_rounded_and_survive_a_truncation():
    levels = torch.arange(256, dtype=torch.float64)
    for off in (-0.4999, -0.1, 0.0, 0.4999):
        assert torch.equal(nearest_level((levels + off) / 255).mul(255).floor(), levels)


def test_halves_go_to_the_even_level_as_numpy_rounds():
    halves = torch.tensor([0.5, 1.5, 126.5, 127.5, 127.5 - 1e-9, 254.5], dtype=torch.float64)
    assert nearest_level(halves / 255).mul(255).tolist() == [0, 2, 126, 128, 128, 254]


def test_values_outside_are_clipped():
    assert nearest_level(torch.tensor([-1.0, 2.0], dtype=torch.float64)).tolist() == [0, 1]
