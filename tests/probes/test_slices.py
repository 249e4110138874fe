import pandas as pd
import pytest
import torch
from torch import nn

from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.probes.slices import (
    filter_normalised,
    input_grid,
    moved,
    pooled,
    random_direction,
    scores,
    weight_grid,
)

RNG = Stream.seeded(0)
X = torch.rand(40, 1, 4, 4, generator=torch.Generator().manual_seed(0))
BATCH = Batch(X, torch.arange(40) % 3, torch.arange(40))


def network(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)]
        return nn.Sequential(*layers).eval()


def test_filter_normalisation_by_hand():
    """Rows (3, 4), (0, 0) and (1, 0) of lengths 5, 0 and 1 take the lengths of (0, 2), (1, 1) and (0, 0)."""
    direction = (torch.tensor([[3.0, 4.0], [0.0, 0.0], [1.0, 0.0]]), torch.tensor([7.0, 7.0]))
    weights = (torch.tensor([[0.0, 2.0], [1.0, 1.0], [0.0, 0.0]]), torch.tensor([1.0, 2.0]))
    matrix, bias = filter_normalised(direction, weights)
    torch.testing.assert_close(matrix, torch.tensor([[1.2, 1.6], [0.0, 0.0], [0.0, 0.0]]))
    assert bias.tolist() == [0.0, 0.0]


def test_each_filter_of_a_direction_is_as_long_as_the_models():
    model = network()
    for part, weight in zip(random_direction(model, RNG), model.parameters(), strict=True):
        if weight.dim() > 1:
            torch.testing.assert_close(part.flatten(1).norm(dim=1), weight.detach().flatten(1).norm(dim=1))
        else:
            assert not part.any()


def test_a_direction_belongs_to_the_seed_and_the_shapes():
    one, again, other = (random_direction(network(), rng) for rng in (RNG, RNG, RNG.stream("other")))
    assert all(map(torch.equal, one, again))
    assert not torch.equal(one[0], other[0])
    scaled = network()
    scaled[0].weight.data.mul_(2)
    torch.testing.assert_close(random_direction(scaled, RNG)[0], 2 * one[0])


def test_moving_makes_a_copy():
    model = network()
    before = [tensor.clone() for tensor in model.state_dict().values()]
    first, second = (random_direction(model, RNG.stream(number)) for number in range(2))
    other = moved(model, (0.5, first), (-2.0, second))
    for weight, there, a, b in zip(model.parameters(), other.parameters(), first, second, strict=True):
        torch.testing.assert_close(there, weight + 0.5 * a - 2 * b)
    assert all(map(torch.equal, before, model.state_dict().values()))
    assert not other.training


def test_scaling_a_filter_away_changes_no_slice():
    """What the normalisation is for: batch norm takes the scale out, and the direction follows it."""
    model, scaled = network().train(), network().train()
    scaled[0].weight.data.mul_(8)
    scaled[0].bias.data.mul_(8)
    for one in (model, scaled):  # the statistics of each model's own features
        one[1].momentum = None
        one(X)
        one.eval()
        one[1].eps = 0.0
    grids = [weight_grid(one, BATCH, [random_direction(one, RNG)], [-0.5, 0.0, 0.5]) for one in (model, scaled)]
    pd.testing.assert_frame_equal(*grids, rtol=1e-4)


def test_a_grid_has_the_loss_of_each_moved_model():
    model = network()
    directions = [random_direction(model, RNG.stream(number)) for number in range(2)]
    grid = weight_grid(model, BATCH, directions, [-1.0, 0.0, 1.0])
    assert grid[["a", "b"]].to_numpy().tolist() == [[a, b] for a in (-1, 0, 1) for b in (-1, 0, 1)]
    row = grid[(grid["a"] == 1) & (grid["b"] == -1)].iloc[0]
    there = scores(moved(model, (1.0, directions[0]), (-1.0, directions[1])), BATCH, 64)
    assert row["loss"] == pytest.approx(float(there.loss.mean()))
    assert row["accuracy"] == float(there.correct.double().mean())
    middle = grid[(grid["a"] == 0) & (grid["b"] == 0)].iloc[0]
    with torch.no_grad():
        assert middle["loss"] == pytest.approx(float(nn.functional.cross_entropy(model(X), BATCH.y)), rel=1e-6)
    assert (grid["n"] == 40).all()


def test_a_slice_of_images_knows_a_linear_energy(subject, energy, rng):
    """For l = 3 + w.x the loss along the sign of the gradient rises by |w|_1 eps a."""
    slope = torch.tensor([1.0, -2.0, 0.5, 4.0])
    one = subject(energy(lambda x: 3 + x @ slope), torch.rand(20, 1, 2, 2))
    grid = input_grid(one, rng, [-1.0, 0.0, 1.0], eps=0.1)
    line = grid[grid["b"] == 0].set_index("a")["loss"]
    assert line[1.0] - line[0.0] == pytest.approx(0.75, rel=1e-4)
    assert line[0.0] - line[-1.0] == pytest.approx(0.75, rel=1e-4)
    assert grid["loss"].idxmax() in grid.index[grid["a"] == 1]


def test_grids_of_shards_pool_to_that_of_the_whole():
    model = network()
    directions, along = [random_direction(model, RNG)], [-0.5, 0.0, 0.5]
    parts = [Batch(*(tensor[rows] for tensor in BATCH)) for rows in (slice(0, 11), slice(11, 40))]
    found = pooled([weight_grid(model, part, directions, along) for part in parts])
    pd.testing.assert_frame_equal(found, weight_grid(model, BATCH, directions, along))
