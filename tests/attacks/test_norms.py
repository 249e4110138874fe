import math

import numpy as np
import pytest
import torch
from scipy import optimize, stats

from robusteval.attacks.attack import Attack
from robusteval.attacks.norms import NORMS, l1_project_in_box, sparse
from robusteval.attacks.pgd import Pgd
from robusteval.core.rng import Stream

SHAPE, IDS = torch.Size((3, 4, 4)), torch.arange(64)
FIRST = torch.zeros_like(IDS)
RANDOM = Stream.seeded(1)
GRADIENTS = RANDOM.stream("gradient").normal(IDS, SHAPE)
EPS = 0.3


def radius(value, count=64):
    return torch.full((count,), value, dtype=torch.float64)


@pytest.fixture(params=NORMS)
def norm(request):
    return NORMS[request.param]


@pytest.mark.parametrize("scale", [1e-3, 0.1, 10.0])
def test_a_projection_is_in_the_ball_and_idempotent(norm, scale):
    once = norm.project(scale * GRADIENTS, radius(EPS))
    assert (norm.size(once.double()) <= norm.slack(EPS)).all()
    torch.testing.assert_close(norm.project(once, radius(EPS)), once, rtol=1e-6, atol=0)


def test_what_is_inside_stays_to_the_bit(norm):
    inside = 0.99 * EPS * norm.draw(RANDOM, IDS, SHAPE, FIRST)
    assert torch.equal(norm.project(inside, radius(EPS)), inside)


def test_a_projection_is_nearer_than_any_other_point_of_the_ball(norm):
    projected = norm.project(GRADIENTS, radius(EPS))
    nearest = (GRADIENTS - projected).flatten(1).norm(dim=1)
    for draw in range(50):
        # Also points near the projection itself, where a wrong one would be beaten.
        other = EPS * norm.draw(RANDOM, IDS, SHAPE, FIRST + draw)
        for point in (other, 0.99 * projected + 0.01 * other):
            assert ((GRADIENTS - point).flatten(1).norm(dim=1) >= nearest - 1e-5).all()


@pytest.mark.parametrize(("name", "dual"), [("linf", 1), ("l2", 2), ("l1", math.inf)])
def test_the_steepest_direction_reaches_the_dual_norm(name, dual):
    norm, direction = NORMS[name], NORMS[name].steepest(GRADIENTS)
    rise = (GRADIENTS * direction).flatten(1).sum(dim=1)
    torch.testing.assert_close(norm.size(direction), torch.ones(64))
    torch.testing.assert_close(rise, GRADIENTS.flatten(1).norm(p=dual, dim=1))


@pytest.mark.parametrize("scale", [1e-38, 1e-30, 1e-12, 1e30])
def test_the_scale_of_a_gradient_does_not_change_its_direction(norm, scale):
    torch.testing.assert_close(norm.steepest(scale * GRADIENTS), norm.steepest(GRADIENTS))


def test_a_gradient_of_zero_moves_nothing(norm):
    zero = torch.zeros_like(GRADIENTS)
    assert torch.equal(norm.steepest(zero), zero)
    assert torch.equal(norm.project(zero, radius(0.0)), zero)


def test_draws_fill_the_ball_evenly():
    ids = torch.arange(4000)
    cube, ball, cross = (norm.draw(RANDOM, ids, SHAPE, torch.zeros_like(ids)) for norm in NORMS.values())
    assert stats.kstest(cube.flatten().numpy(), stats.uniform(-1, 2).cdf).pvalue > 0.01
    for norm, drawn in (("l2", ball), ("l1", cross)):
        radius = NORMS[norm].size(drawn.double()) ** SHAPE.numel()
        assert stats.kstest(radius.numpy(), stats.uniform.cdf).pvalue > 0.01
        assert (drawn / NORMS[norm].size(drawn)[:, None, None, None]).mean(dim=0).abs().max() < 0.01
    one = (cross / NORMS["l1"].size(cross)[:, None, None, None]).abs()[:, 0, 0, 0]
    assert stats.kstest(one.numpy(), stats.beta(1, SHAPE.numel() - 1).cdf).pvalue > 0.01


@pytest.mark.parametrize("eps", [0.0, 0.05, 1.0, 12.0, 40.0])
def test_the_l1_projection_is_that_of_a_solver(eps):
    """Against the minimum over the one multiplier, found by bisection."""
    x0 = (RANDOM.stream("box").uniform(IDS, SHAPE) * 1.2 - 0.1).clamp(0, 1)
    for cap, found in (
        (None, NORMS["l1"].project(GRADIENTS, radius(eps))),
        (torch.where(GRADIENTS > 0, 1 - x0, x0), l1_project_in_box(GRADIENTS, x0, radius(eps))),
    ):
        for row in range(0, 64, 7):
            size = GRADIENTS[row].abs().double().numpy()
            most = size if cap is None else np.minimum(size, cap[row].numpy())

            def left(amount, size=size, most=most):
                return np.minimum(np.maximum(size - amount, 0), most)

            amount = 0.0 if most.sum() <= eps else optimize.brentq(lambda a: left(a).sum() - eps, 0, size.max())
            expected = GRADIENTS[row].sign() * torch.from_numpy(left(amount))
            torch.testing.assert_close(found[row].double(), expected, rtol=0, atol=1e-6)


def test_the_l1_projection_in_the_box_is_nearer_than_any_other_point():
    x0 = RANDOM.stream("box").uniform(IDS, SHAPE)
    projected = l1_project_in_box(GRADIENTS, x0, radius(2.0))
    assert (NORMS["l1"].size(projected.double()) <= NORMS["l1"].slack(2.0)).all()
    assert -1e-6 < (x0 + projected).min() <= (x0 + projected).max() < 1 + 1e-6
    nearest = (GRADIENTS - projected).flatten(1).norm(dim=1)
    for draw in range(50):
        other = 2 * NORMS["l1"].draw(RANDOM, IDS, SHAPE, FIRST + draw)
        other = (x0 + other).clamp(0, 1) - x0
        for point in (other, 0.99 * projected + 0.01 * other):
            assert ((GRADIENTS - point).flatten(1).norm(dim=1) >= nearest - 1e-5).all()


def test_a_sparse_direction_moves_its_share_of_the_largest():
    share = torch.tensor([0.0, 0.25, 0.5, 1.0]).repeat(16)
    moves = sparse(GRADIENTS, share).flatten(1)
    assert (moves != 0).sum(dim=1).tolist() == [1, 12, 24, 48] * 16
    torch.testing.assert_close(moves.abs().sum(dim=1), torch.ones(64))
    still = GRADIENTS.flatten(1).abs().masked_fill(moves != 0, 0).amax(dim=1)
    assert (GRADIENTS.flatten(1).abs().masked_fill(moves == 0, torch.inf).amin(dim=1) > still).all()
    assert (moves * GRADIENTS.flatten(1) >= 0).all()


def test_a_draw_is_the_samples_own(norm):
    """To the bit, alone and in any company: vectorised functions treat the tail of a vector in another way."""
    ids = torch.arange(300)
    together = norm.draw(RANDOM, ids, SHAPE, torch.zeros_like(ids))
    for rows in (slice(7, 8), slice(3, 40), slice(100, 299)):
        assert torch.equal(norm.draw(RANDOM, ids[rows], SHAPE, torch.zeros_like(ids[rows])), together[rows])
    assert not torch.equal(norm.draw(RANDOM, ids, SHAPE, torch.ones_like(ids)), together)


@pytest.mark.parametrize("eps", [1e-5, 1e-4, 1e-3, 1e-2, 0.5, 1.0])
@pytest.mark.parametrize("shape", [(3, 4, 4), (3, 32, 32)])
@pytest.mark.parametrize("name", NORMS)
def test_trust_r3_float32_images_stay_in_the_ball(name, shape, eps):
    """Adding to an image rounds: at a small radius that alone could leave the ball."""
    ids, attack = torch.arange(256), Pgd(eps, name)
    x0 = (RANDOM.stream("images").uniform(ids, shape) * 1.2 - 0.1).clamp(0, 1)
    x = attack.inside(x0 + 10 * eps * RANDOM.normal(ids, shape), x0, radius(eps, 256))
    assert (attack.ball.size(x.double() - x0.double()) <= attack.ball.slack(eps)).all()
    assert 0 <= x.min() <= x.max() <= 1
    assert torch.equal(attack.inside(x0, x0, radius(eps, 256)), x0)
    if eps > 1e-3:
        reached = attack.ball.size(x.double() - x0.double()).max()
        assert math.isclose(reached, eps, rel_tol=1e-3 if name == "linf" else 0.3)


def test_every_norm_of_the_contract_is_here():
    hints = Attack.__dataclass_fields__["norm"].type
    assert hints.__args__ == tuple(NORMS)
