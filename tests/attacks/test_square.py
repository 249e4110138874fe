import math
import warnings
from itertools import pairwise

import pytest
import torch
from torch import nn

import robusteval
from robusteval.attacks import drive
from robusteval.attacks.flags import IMAGES, NEARBY, REPEATS
from robusteval.attacks.oracle import Oracle, predict
from robusteval.attacks.square import Square
from robusteval.core.rng import Stream
from robusteval.core.types import Batch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torchattacks = pytest.importorskip("torchattacks")

RANDOM, IDS, EPS = Stream.seeded(7), torch.arange(50), 0.1


@pytest.fixture(scope="module")
def model():
    """A model whose margin every colour changes."""
    linear = nn.Linear(300, 3).requires_grad_(False)
    linear.weight.copy_(RANDOM.stream("weight").normal(torch.arange(3), (300,)) / 10)
    linear.bias.copy_(-linear.weight.sum(dim=1) / 2)
    return nn.Sequential(nn.Flatten(), linear).eval()


@pytest.fixture(scope="module")
def batch(model):
    """In the middle of the box, which then does not bind."""
    x = 0.2 + 0.6 * RANDOM.uniform(IDS, (3, 10, 10))
    return Batch(x, model(x).argmax(dim=1), IDS)


def states(attack, model, batch, count):
    """The rows at their start, and after each of so many queries."""
    oracle = Oracle(model)
    state = attack.start(oracle, attack.fresh(batch), RANDOM)
    yield state
    for _ in range(count):
        state = attack.advance(oracle, state, RANDOM)
        yield state


def official(p_init, query, n_queries):
    """The share of the image, as the paper's section 3.1 and AutoAttack have it."""
    at = int(query / n_queries * 10000)
    for number, last in enumerate((10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)):
        if at <= last:
            return p_init / 2**number
    return p_init / 512


@pytest.mark.parametrize(("n_queries", "p_init"), [(5000, 0.8), (1000, 0.8), (10000, 0.05), (100, 0.3)])
def test_the_patches_shrink_as_the_official_ones(n_queries, p_init):
    queries = torch.arange(n_queries)
    shares = [official(p_init, query, n_queries) for query in range(n_queries)]
    plain = [max(round(math.sqrt(share * 32 * 32)), 1) for share in shares]
    odd = [max(side, 3) + (max(side, 3) % 2 == 0) for side in plain]
    for norm, expected in (("linf", plain), ("l2", odd)):
        assert Square(EPS, norm, n_queries=n_queries, p_init=p_init).side(queries, 32, 32).tolist() == expected


def test_the_default_is_that_of_autoattack():
    assert (Square(EPS).n_queries, Square(EPS).p_init) == (5000, 0.8)
    assert Square(EPS).side(torch.tensor([0, 5, 6, 4999]), 32, 32).tolist() == [29, 29, 20, 1]


def test_linf_candidates_are_corners_of_the_ball_with_stripes_at_first(model, batch):
    for number, state in enumerate(states(Square(EPS, n_queries=40), model, batch, 10)):
        change = state.x - batch.x
        torch.testing.assert_close(change.abs(), torch.full_like(change, EPS), rtol=1e-5, atol=0)
        assert number or torch.equal(change.sign(), change[:, :, :1].expand_as(change).sign())


def test_an_linf_patch_has_one_sign_in_each_channel(model, batch):
    attack = Square(EPS, n_queries=40)
    for state in list(states(attack, model, batch, 10))[1:]:
        side = int(attack.side(state.iteration - 1, 10, 10)[0])
        for changed, signs in zip(state.x != state.best, (state.x - state.x0).sign(), strict=True):
            used = changed.any(dim=0).nonzero()
            if len(used):
                (top, left), (bottom, right) = used.amin(dim=0).tolist(), used.amax(dim=0).tolist()
                assert max(bottom - top, right - left) < side
                assert all(len(values[mask].unique()) <= 1 for values, mask in zip(signs, changed, strict=True))


def test_l2_candidates_use_the_whole_radius(model, batch):
    for state in states(Square(EPS, "l2", n_queries=40), model, batch, 10):
        size = (state.x - batch.x).double().flatten(1).norm(dim=1)
        torch.testing.assert_close(size, torch.full_like(size, EPS), rtol=1e-4, atol=0)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_margin_of_the_best_only_falls(norm, model, batch):
    rises = [state.loss for state in states(Square(1e-3, norm, n_queries=60), model, batch, 60)][1:]
    assert all((later >= earlier).all() for earlier, later in pairwise(rises))
    assert (rises[-1] > rises[0]).float().mean() > 0.9


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.02), ("l2", 0.3)])
def test_a_sample_leaves_at_once_and_costs_one_pass_for_each_query(norm, eps, model, batch):
    outcome = drive(Square(eps, norm, n_queries=30), model, batch, RANDOM)
    assert 5 < outcome.broken.sum() < 45
    queries = torch.where(outcome.broken, outcome.steps_to_break, 30) + 1
    assert (outcome.forwards, outcome.backwards) == (int(queries.sum()) + 2 * len(IDS) + IMAGES * (REPEATS + NEARBY), 0)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 2), (1, 5, 9)])
def test_tiny_and_oblong_images_will_do(shape, norm):
    x = RANDOM.uniform(IDS, shape)
    network = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 2)).eval()
    outcome = drive(Square(0.2, norm, n_queries=20), network, Batch(x, network(x).argmax(dim=1), IDS), RANDOM)
    assert outcome.inputs.isfinite().all()


@pytest.mark.parametrize(("norm", "theirs", "eps"), [("linf", "Linf", "2/255"), ("l2", "L2", "0.5")])
def test_it_is_as_strong_as_torchattacks(norm, theirs, eps, resnet20, cifar):
    x, y = cifar.x[:32], cifar.y[:32]
    outcome = robusteval.attack(resnet20, x, y, f"square(eps={eps}, norm='{norm}', n_queries=100)")
    radius = 2 / 255 if eps == "2/255" else 0.5
    attack = torchattacks.Square(resnet20, norm=theirs, eps=radius, n_queries=100, seed=0)
    with torch.random.fork_rng():
        expected = int((predict(resnet20, attack(x, y), 32).argmax(dim=1) == y).sum())
    assert int((~outcome.broken).sum()) <= expected + 1
    assert 2 < expected < 30
