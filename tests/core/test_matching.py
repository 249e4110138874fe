"""The optimal plan, against brute force, against sorting, and against its laws (METHODS 7.1)."""

import itertools

import numpy as np
import ot
import pytest
import torch
from scipy.optimize import linprog

from robusteval.core.errors import InputError
from robusteval.core.matching import match, match_in_blocks, squared_distances, transport

GENERATOR = torch.Generator().manual_seed(0)


def cloud(n: int, dimensions: int) -> torch.Tensor:
    return torch.randn(n, dimensions, generator=GENERATOR)


def cost(a, b, plan):
    return float(((a - b[plan]) ** 2).sum())


def test_distances_are_those_of_cdist_far_from_the_origin_too():
    a, b = cloud(5, 7) + 100, cloud(6, 7) + 100
    torch.testing.assert_close(squared_distances(a, b), torch.cdist(a.double(), b.double()) ** 2)


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 6])
def test_the_plan_is_that_of_brute_force(k):
    a, b = cloud(k, 3), cloud(k, 3)
    best = min(cost(a, b, list(plan)) for plan in itertools.permutations(range(k)))
    assert cost(a, b, match(squared_distances(a, b))) == pytest.approx(best)


@pytest.mark.parametrize("k", [2, 16, 64])
def test_the_plan_costs_what_the_general_solver_finds(k):
    a, b = cloud(k, 5), cloud(k, 5)
    costs = squared_distances(a, b)
    reference = (ot.emd([], [], costs.numpy()) * costs.numpy()).sum() * k
    assert cost(a, b, match(costs)) == pytest.approx(reference)


def test_no_random_plan_is_cheaper():
    a, b = cloud(32, 8), cloud(32, 8)
    plan = match(squared_distances(a, b))
    assert sorted(plan.tolist()) == list(range(32))
    assert all(cost(a, b, torch.randperm(32, generator=GENERATOR)) >= cost(a, b, plan) for _ in range(100))


def test_in_one_dimension_it_sorts():
    a, b = cloud(20, 1), cloud(20, 1)
    plan = match(squared_distances(a, b))
    assert torch.equal(a[:, 0].argsort(), a[:, 0].argsort()[b[plan][a[:, 0].argsort(), 0].argsort()])


def test_it_moves_and_scales_with_the_points():
    a, b = cloud(16, 4), cloud(16, 4)
    plan = match(squared_distances(a, b))
    assert torch.equal(match(squared_distances(3 * a + 5, 3 * b + 5)), plan)
    order = torch.randperm(16, generator=GENERATOR)
    assert torch.equal(order[match(squared_distances(a, b[order]))], plan)


def test_blocks_keep_to_themselves():
    a, b = cloud(10, 2), cloud(10, 2)
    plan = match_in_blocks(a, b, 4)
    assert [sorted(plan[start:stop].tolist()) for start, stop in ((0, 4), (4, 8), (8, 10))] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9],
    ]


def test_transport_between_equal_weights_is_the_matching():
    a, b = cloud(12, 3), cloud(12, 3)
    costs = squared_distances(a, b)
    plan = transport(costs, torch.full((12,), 0.5), torch.full((12,), 0.5))
    assert torch.equal(plan.argmax(dim=1), match(costs))
    torch.testing.assert_close(plan.amax(dim=1), torch.full((12,), 0.5, dtype=torch.float64))


def test_transport_between_other_weights_solves_the_linear_program():
    n, m = 5, 8
    costs = squared_distances(cloud(n, 2), cloud(m, 2))
    rows, columns = (torch.rand(count, generator=GENERATOR, dtype=torch.float64) for count in (n, m))
    columns = columns * rows.sum() / columns.sum()
    plan = transport(costs, rows, columns)
    torch.testing.assert_close(plan.sum(dim=1), rows)
    torch.testing.assert_close(plan.sum(dim=0), columns)
    sums = np.concatenate([np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))])
    best = linprog(costs.flatten().numpy(), A_eq=sums, b_eq=torch.cat([rows, columns]).numpy())
    assert float((plan * costs).sum()) == pytest.approx(best.fun)


@pytest.mark.parametrize("columns", [[1.0, 2.0], [2.0, -1.0]])
def test_transport_wants_weights_that_fit(columns):
    with pytest.raises(InputError, match="weights="):
        transport(torch.zeros(2, 2), torch.tensor([0.5, 0.5]), torch.tensor(columns))
