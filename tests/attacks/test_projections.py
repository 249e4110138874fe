"""Each projection against a solver of the same problem (scipy), and in the corners of its domain."""

import numpy as np
import pytest
import torch
from scipy import optimize

from robusteval.attacks.norms import NORMS
from robusteval.attacks.projections import PROJECTIONS
from robusteval.core.rng import Stream

RANDOM, IDS, WIDTH = Stream.seeded(4), torch.arange(40), 7
POINTS = (1.4 * RANDOM.stream("points").uniform(IDS, (WIDTH,), dtype=torch.float64) - 0.2).clamp(0, 1)
WEIGHTS = RANDOM.stream("weights").normal(IDS, (WIDTH,)).double() * (torch.arange(WIDTH) < WIDTH - IDS[:, None] % 3)
MOST = (WEIGHTS.abs() * torch.where(WEIGHTS > 0, 1 - POINTS, POINTS)).sum(dim=1)
LEAST = -(WEIGHTS.abs() * torch.where(WEIGHTS > 0, POINTS, 1 - POINTS)).sum(dim=1)
RISE = LEAST + (MOST - LEAST) * RANDOM.stream("rise").uniform(IDS, dtype=torch.float64)


def shortest(name, point, weight, rise):
    """The least norm of a change, by scipy."""
    box, eye, one = [(-entry, 1 - entry) for entry in point], np.eye(WIDTH), np.ones((WIDTH, 1))
    if name == "l2":
        plane = {"type": "eq", "fun": lambda change: weight @ change - rise, "jac": lambda _: weight}
        found = optimize.minimize(
            lambda change: change @ change,
            np.zeros(WIDTH),
            jac=lambda change: 2 * change,
            bounds=box,
            constraints=plane,
            options={"ftol": 1e-14},
        )
        return np.sqrt(found.fun)
    # A linear program: sizes above the change and its negative, one for all entries or one for each.
    sizes = one if name == "linf" else eye
    count = sizes.shape[1]
    return optimize.linprog(
        np.r_[np.zeros(WIDTH), np.ones(count)],
        np.block([[eye, -sizes], [-eye, -sizes]]),
        np.zeros(2 * WIDTH),
        np.r_[weight, np.zeros(count)][None],
        [rise],
        box + [(0, None)] * count,
    ).fun


@pytest.fixture(params=PROJECTIONS)
def name(request):
    return request.param


def test_every_norm_has_one():
    assert set(PROJECTIONS) == set(NORMS)


def test_no_change_in_the_box_that_reaches_the_plane_is_shorter(name):
    change = PROJECTIONS[name](POINTS, WEIGHTS, RISE)
    torch.testing.assert_close((WEIGHTS * change).sum(dim=1), RISE)
    assert -1e-12 < (POINTS + change).min() < (POINTS + change).max() < 1 + 1e-12
    sizes = NORMS[name].size(change[:, :, None, None])
    rows = zip(POINTS.numpy(), WEIGHTS.numpy(), RISE.tolist(), strict=True)
    expected = torch.tensor([shortest(name, *row) for row in rows], dtype=torch.float64)
    torch.testing.assert_close(sizes, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_plane_out_of_reach_is_approached_as_far_as_the_box_allows(name, sign):
    for much in ((MOST - LEAST).max() + 1, 1e30):
        reached = POINTS + PROJECTIONS[name](POINTS, WEIGHTS, torch.full_like(RISE, sign * much))
        corner = torch.where(WEIGHTS == 0, POINTS, (sign * WEIGHTS > 0).double())
        torch.testing.assert_close(reached, corner)


def test_on_the_plane_and_without_a_plane_nothing_changes(name):
    project, zero = PROJECTIONS[name], torch.zeros_like(RISE)
    assert not project(POINTS, WEIGHTS, zero).any()
    assert not project(POINTS, torch.zeros_like(WEIGHTS), RISE).any()
    assert not project(POINTS, torch.zeros_like(WEIGHTS), zero).any()


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e30])
def test_the_scale_of_the_weights_does_not_matter(name, scale):
    points, weights, rise = POINTS.float(), WEIGHTS.float(), RISE.float()
    expected = PROJECTIONS[name](points, weights, rise)
    torch.testing.assert_close(PROJECTIONS[name](points, scale * weights, scale * rise), expected)


def test_a_row_has_the_same_bits_in_any_company(name):
    points, weights, rise = POINTS.float(), WEIGHTS.float(), RISE.float()
    expected = PROJECTIONS[name](points, weights, rise)
    for rows in (slice(0, 1), slice(5, 12), slice(11, 40)):
        assert torch.equal(PROJECTIONS[name](points[rows], weights[rows], rise[rows]), expected[rows])


def test_a_gradient_that_is_no_number_stops_at_once(name):
    weights = WEIGHTS.float()
    weights[3] = torch.nan
    expected = PROJECTIONS[name](POINTS.float(), WEIGHTS.float(), RISE.float())
    others = IDS != 3
    assert torch.equal(PROJECTIONS[name](POINTS.float(), weights, RISE.float())[others], expected[others])
