"""The optimal plan, against brute force, against sorting, and against its laws (METHODS 7.1)."""

import itertools

import ot
import pytest
import torch

from robusteval.core.matching import match, match_in_blocks, squared_distances

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
