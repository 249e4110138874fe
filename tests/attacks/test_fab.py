import math
import warnings

import pytest
import torch
from torch import nn

import robusteval
from robusteval.attacks import drive
from robusteval.attacks.fab import Fab
from robusteval.attacks.flags import IMAGES, NEARBY, REPEATS
from robusteval.attacks.norms import NORMS
from robusteval.attacks.oracle import Oracle, predict
from robusteval.core.rng import Stream
from robusteval.core.types import Batch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torchattacks = pytest.importorskip("torchattacks")

RANDOM, IDS = Stream.seeded(8), torch.arange(120)
DUAL = {"linf": 1, "l2": 2, "l1": math.inf}


class Straightened(nn.Module):
    """Hands back contiguous gradients, without which theirs crashes on subsampling shortcuts; use it in eval mode."""

    class Straight(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient.contiguous()

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(self.Straight.apply(x))


@pytest.fixture(scope="module")
def linear():
    """Five classes whose boundaries are at all distances from each other."""
    layer = nn.Linear(48, 5).requires_grad_(False)
    layer.weight.copy_(RANDOM.stream("weight").normal(torch.arange(5), (48,)))
    layer.bias.copy_(-layer.weight.sum(dim=1) / 2)
    return nn.Sequential(nn.Flatten(), layer).eval()


@pytest.fixture(scope="module")
def batch(linear):
    """In the middle of the box, which then does not bind but in L1."""
    x = 0.45 + 0.1 * RANDOM.uniform(IDS, (3, 4, 4))
    return Batch(x, linear(x).argmax(dim=1), IDS)


def distances(linear, batch, norm):
    """To the nearest boundary [n], in closed form."""
    logits, weight = linear(batch.x).double(), linear[1].weight.double()
    lead = logits.gather(1, batch.y[:, None]) - logits
    dual = (weight[batch.y][:, None] - weight).norm(p=DUAL[norm], dim=2)
    return torch.where(lead > 0, lead / dual, torch.inf).amin(dim=1)


@pytest.mark.parametrize("targeted", [True, False])
@pytest.mark.parametrize("norm", NORMS)
def test_trust_r18_a_linear_model_is_broken_where_the_boundary_is_in_the_ball(norm, targeted, linear, batch):
    distance = distances(linear, batch, norm)
    for share in (0.2, 0.5, 0.8):
        eps = float(distance.quantile(share))
        outcome = drive(Fab(eps, norm, steps=20, targeted=targeted), linear, batch, RANDOM)
        clear = (distance / eps - 1).abs() > 0.01
        assert clear.float().mean() > 0.9
        assert torch.equal(outcome.broken[clear], (distance < eps)[clear])
        assert not outcome.broken[distance > eps * (1 + 1e-4)].any()


@pytest.mark.parametrize("targeted", [True, False])
@pytest.mark.parametrize("norm", NORMS)
def test_a_boundary_is_crossed_in_one_step_and_approached_to_a_percent_in_ten(norm, targeted, linear, batch):
    """Untargeted it may go to and fro between two boundaries that are within 2%, as at the first image in L1."""
    distance = distances(linear, batch, norm)
    for steps, margin in ((1, 1.051), (10, 1.01)):
        for row in range(0 if targeted else 1, 120, 24):
            one = Batch(*(tensor[row : row + 1] for tensor in batch))
            eps = margin * float(distance[row])
            assert drive(Fab(eps, norm, steps=steps, targeted=targeted), linear, one, RANDOM).broken.all()


@pytest.mark.parametrize("norm", ["linf", "l2"])  # in L1 the box binds
def test_untargeted_the_first_step_goes_to_the_nearest_boundary(norm, linear, batch):
    """Which need not be that of the likeliest class."""
    attack, oracle = Fab(1.0, norm, targeted=False), Oracle(linear)
    logits, weight = linear(batch.x).double(), linear[1].weight.double()
    lead = logits.gather(1, batch.y[:, None]) - logits
    away = lead / (weight[batch.y][:, None] - weight).norm(p=DUAL[norm], dim=2)
    nearest = torch.where(lead > 0, away, torch.inf).argmin(dim=1)
    state = attack.advance(oracle, attack.start(oracle, attack.fresh(batch), RANDOM), RANDOM)
    assert torch.equal(linear(state.x).argmax(dim=1), nearest)
    assert int((nearest != logits.topk(2).indices[:, 1]).sum()) > 5


def test_the_targets_are_the_most_likely_wrong_classes_of_the_image(linear, batch):
    ranks = linear(batch.x).argsort(dim=1, descending=True)
    for entry in range(8):
        attack = Fab(0.1, restarts=2)
        state = attack.start(Oracle(linear), attack.fresh(batch, entry), RANDOM)
        assert torch.equal(state.aim[:, 0], batch.y)
        assert torch.equal(state.aim[:, 1], ranks[:, 1 + entry // 2])


@pytest.mark.parametrize(("arguments", "starts"), [({}, 4), ({"targets": 2}, 2), ({"restarts": 3}, 12)])
def test_there_are_no_more_targets_than_wrong_classes(arguments, starts, linear, batch):
    """Every robust sample costs a pass to find its targets, one for each step, and one for the last point."""
    outcome = drive(Fab(1e-6, steps=3, **arguments), linear, batch, RANDOM)
    assert not outcome.broken.any()
    assert outcome.backwards == 120 * starts * 3 + IMAGES
    changed = int((outcome.inputs != batch.x).flatten(1).any(dim=1).sum())
    assert outcome.forwards == 120 * (1 + starts * (1 + 3 + 1)) + changed + IMAGES * (REPEATS + NEARBY + 1)


def test_untargeted_a_step_is_a_pass_forward_and_one_backward_for_every_class(linear, batch):
    outcome = drive(Fab(1e-6, steps=3, restarts=2, targeted=False), linear, batch, RANDOM)
    assert outcome.backwards == 120 * 2 * 3 * 5 + IMAGES
    changed = int((outcome.inputs != batch.x).flatten(1).any(dim=1).sum())
    assert outcome.forwards == 120 * (1 + 2 * (1 + 3 + 1)) + changed + IMAGES * (REPEATS + NEARBY + 1)


@pytest.mark.parametrize("norm", NORMS)
def test_restarts_begin_half_the_radius_away(norm, linear, batch):
    attack, oracle = Fab(0.2, norm, restarts=3), Oracle(linear)
    first, second, third = (attack.start(oracle, attack.fresh(batch, entry), RANDOM).x - batch.x for entry in range(3))
    assert not first.any()
    assert not torch.equal(second, third)
    torch.testing.assert_close(NORMS[norm].size(second), torch.full((120,), 0.1), rtol=1e-4, atol=0)


@pytest.mark.parametrize("norm", NORMS)
def test_what_is_broken_outside_the_ball_is_not_kept(norm, linear, batch):
    attack, oracle = Fab(0.9 * float(distances(linear, batch, norm).min()), norm), Oracle(linear)
    state = attack.start(oracle, attack.fresh(batch), RANDOM)
    crossed = torch.zeros(120, dtype=torch.bool)
    for _ in range(5):
        state = attack.advance(oracle, state, RANDOM)
        crossed |= linear(state.x).argmax(dim=1) != batch.y
        assert not state.done.any()
        assert (NORMS[norm].size((state.best - batch.x).double()) <= NORMS[norm].slack(attack.eps)).all()
    assert crossed.all()


def test_a_model_without_a_gradient_is_left_where_it_was(batch):
    class Deaf(nn.Module):
        def forward(self, x):
            return x.new_tensor([1.0, 0.0, 0.0, 0.0, 0.0]).expand(len(x), 5)

    for targeted in (True, False):
        attack = Fab(0.5, steps=3, targeted=targeted)
        assert not drive(attack, Deaf(), batch._replace(y=torch.zeros_like(batch.y)), RANDOM).broken.any()


@pytest.mark.parametrize("targeted", [True, False])
@pytest.mark.parametrize(("norm", "theirs", "eps"), [("linf", "Linf", "0.5/255"), ("l2", "L2", "0.08")])
def test_it_is_as_strong_as_torchattacks(norm, theirs, eps, targeted, resnet20, cifar):
    x, y, radius = cifar.x[:24], cifar.y[:24], 0.5 / 255 if norm == "linf" else 0.08
    aims = "targets=2" if targeted else "targeted=False"
    outcome = robusteval.attack(resnet20, x, y, f"fab(eps={eps}, norm='{norm}', steps=10, {aims})")
    straight = Straightened(resnet20).eval()
    attack = torchattacks.FAB(straight, theirs, radius, steps=10, multi_targeted=targeted, n_classes=3)
    with torch.random.fork_rng():
        found = attack(x, y)
    near = NORMS[norm].size((found - x).double()) <= NORMS[norm].slack(radius)
    expected = int(((predict(resnet20, found, 48).argmax(dim=1) == y) | ~near).sum())
    assert int((~outcome.broken).sum()) <= expected + 1
    assert 5 < expected < 20
