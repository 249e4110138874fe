import math

import pytest
import torch
from scipy import stats

from robusteval.attacks.attack import Attack
from robusteval.attacks.norms import NORMS
from robusteval.attacks.pgd import Pgd
from robusteval.core.rng import Stream

SHAPE, IDS = torch.Size((3, 4, 4)), torch.arange(64)
FIRST = torch.zeros_like(IDS)
RANDOM = Stream.seeded(1)
GRADIENTS = RANDOM.stream("gradient").normal(IDS, SHAPE)
EPS = 0.3


@pytest.fixture(params=NORMS)
def norm(request):
    return NORMS[request.param]


@pytest.mark.parametrize("scale", [1e-3, 0.1, 10.0])
def test_a_projection_is_in_the_ball_and_idempotent(norm, scale):
    once = norm.project(scale * GRADIENTS, EPS)
    assert (norm.size(once.double()) <= norm.slack(EPS)).all()
    torch.testing.assert_close(norm.project(once, EPS), once, rtol=1e-6, atol=0)


def test_what_is_inside_stays_to_the_bit(norm):
    inside = 0.99 * EPS * norm.draw(RANDOM, IDS, SHAPE, FIRST)
    assert torch.equal(norm.project(inside, EPS), inside)


def test_a_projection_is_nearer_than_any_other_point_of_the_ball(norm):
    projected = norm.project(GRADIENTS, EPS)
    nearest = (GRADIENTS - projected).flatten(1).norm(dim=1)
    for draw in range(50):
        # Also points near the projection itself, where a wrong one would be beaten.
        other = EPS * norm.draw(RANDOM, IDS, SHAPE, FIRST + draw)
        for point in (other, 0.99 * projected + 0.01 * other):
            assert ((GRADIENTS - point).flatten(1).norm(dim=1) >= nearest - 1e-5).all()


@pytest.mark.parametrize(("name", "dual"), [("linf", 1), ("l2", 2)])
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
    assert torch.equal(norm.project(zero, 0.0), zero)


def test_draws_fill_the_ball_evenly():
    ids = torch.arange(4000)
    cube, ball = (NORMS[name].draw(RANDOM, ids, SHAPE, torch.zeros_like(ids)) for name in ("linf", "l2"))
    assert stats.kstest(cube.flatten().numpy(), stats.uniform(-1, 2).cdf).pvalue > 0.01
    radius = NORMS["l2"].size(ball.double()) ** SHAPE.numel()
    assert stats.kstest(radius.numpy(), stats.uniform.cdf).pvalue > 0.01
    assert (ball / NORMS["l2"].size(ball)[:, None, None, None]).mean(dim=0).abs().max() < 0.01


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
    x = attack.inside(x0 + 10 * eps * RANDOM.normal(ids, shape), x0)
    assert (attack.ball.size(x.double() - x0.double()) <= attack.ball.slack(eps)).all()
    assert 0 <= x.min() <= x.max() <= 1
    assert torch.equal(attack.inside(x0, x0), x0)
    if eps > 1e-3:
        reached = attack.ball.size(x.double() - x0.double()).max()
        assert math.isclose(reached, eps, rel_tol=1e-3 if name == "linf" else 0.3)


def test_every_norm_of_the_contract_is_here():
    hints = Attack.__dataclass_fields__["norm"].type
    assert hints.__args__ == tuple(NORMS)
