import pandas as pd
import pytest
import torch
from torch import nn

from robusteval.core.errors import InputError
from robusteval.probes.landscape import Landscape
from robusteval.probes.slices import moved, random_direction, scores

X = torch.rand(40, 1, 4, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(40) % 3


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3)).eval()


def measured(probe, one, rng):
    (measurement,) = probe.measure(one, rng)
    return measurement


def test_the_rise_is_the_mean_over_directions_both_ways(subject, rng):
    model = network()
    one = subject(model, X, Y)
    frame = measured(Landscape(radii=(0.3,), directions=2), one, rng).frame
    directions = [random_direction(model, rng.stream("landscape", "direction", number)) for number in range(2)]
    steps = [(amount, direction) for direction in directions for amount in (0.3, -0.3)]
    ends = torch.stack([scores(moved(model, step), one.batch, 64).loss for step in steps])
    expected = ends.mean(dim=0) - scores(model, one.batch, 64).loss
    torch.testing.assert_close(torch.tensor(frame["rise_0.3"].to_numpy()), expected)


def test_a_short_step_changes_little_and_a_long_one_more(subject, rng):
    frame = measured(Landscape(radii=(1e-4, 0.5, 2.0), directions=8), subject(network(), X, Y), rng).frame
    rises = frame.drop(columns=["sample", "label"]).abs().mean()
    assert list(rises.index) == ["rise_0.0001", "rise_0.5", "rise_2"]
    assert rises.is_monotonic_increasing
    assert rises.iloc[0] < 1e-4


def test_a_model_without_weights_to_move_has_no_landscape(subject, rng):
    with pytest.raises(InputError, match="model='Flatten': must have weights of two or more dimensions"):
        list(Landscape().measure(subject(nn.Flatten(), torch.rand(8, 1, 2, 2), torch.zeros(8, dtype=torch.int64)), rng))


def test_it_draws_three_grids_round_the_model(subject, rng):
    one, probe = subject(network(), X, Y), Landscape(points=5)
    grids = probe.grids(one, rng)
    assert {name: len(grid) for name, grid in grids.items()} == {"weights-1d": 17, "weights-2d": 25, "inputs-2d": 25}
    home = float(scores(network(), one.batch, 64).loss.mean())
    for grid in grids.values():
        middle = grid[(grid.filter(["a", "b"]) == 0).all(axis=1)]
        assert middle["loss"].item() == pytest.approx(home)
    line = grids["weights-2d"].query("b == 0")[["a", "loss"]].reset_index(drop=True)
    pd.testing.assert_frame_equal(line, grids["weights-1d"][["a", "loss"]][::4].reset_index(drop=True))
    again = probe.grids(one, rng)
    assert all(grids[name].equals(again[name]) for name in grids)


def test_it_counts_its_passes(subject, rng):
    facts = measured(Landscape(directions=3, points=5), subject(network(), X, Y), rng).facts
    assert (facts.forwards, facts.backwards) == (40 * (1 + 3 * 2 * 3 + 17 + 25 + 25 + 1), 40)


@pytest.mark.parametrize(
    "wrong", [{"radii": ()}, {"radii": (0.0,)}, {"radii": (1.0, 1.0)}, {"directions": 0}, {"points": 4}, {"reach": 0.0}]
)
def test_a_wrong_parameter_is_answered_with_the_rule(wrong):
    with pytest.raises(InputError, match=f"{next(iter(wrong))}=.*must"):
        Landscape(**wrong)
