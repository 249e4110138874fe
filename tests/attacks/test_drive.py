from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import nn

from robusteval.attacks import ATTACKS, Passes, Search, drive
from robusteval.attacks.attack import State
from robusteval.attacks.drive import strongest
from robusteval.attacks.flags import IMAGES, NEARBY, REPEATS
from robusteval.attacks.pgd import Pgd
from robusteval.core.errors import InputError
from robusteval.core.rng import Stream
from robusteval.core.types import Batch

RANDOM = Stream.seeded(2)
LOOKS = IMAGES * (REPEATS + NEARBY)


@dataclass(frozen=True)
class Noise(Search):
    """A planted attack, whole: random points of the ball."""

    name: ClassVar[str] = "noise"
    white_box: ClassVar[bool] = False

    tries: int = 10

    @property
    def budget(self):
        return self.tries

    def start(self, model, fresh, rng):
        return State.at(fresh.x, fresh)

    def advance(self, model, state, rng):
        logits = model.logits(state.x)
        offset = self.eps * self.ball.draw(rng, state.ids, state.x.shape[1:], state.iteration)
        seen = self.observed(state, logits, self.objective(logits, state.y))
        return seen.moved(self.inside(state.x0 + offset, state.x0, state.eps))


@dataclass(frozen=True)
class Whole(Pgd):
    """PGD that keeps everyone to the end, as training does."""

    goal: ClassVar = "loss"


@dataclass(frozen=True)
class Planted(Noise):
    """Ends wherever it is told."""

    end: object = None

    def advance(self, model, state, rng):
        return state.moved(self.end(state.x0))


def network(seed=0):
    torch_free = Stream.seeded(seed).normal(torch.arange(5), (3, 6, 6))
    linear = nn.Linear(108, 5).requires_grad_(False)
    linear.weight.copy_(torch_free.flatten(1) / 4)
    linear.bias.zero_()
    linear.bias -= linear(torch.full((1, 108), 0.5))[0]
    return nn.Sequential(nn.Flatten(), linear).eval()


class Moody(nn.Module):
    """Rounds otherwise at every size of a pass, and notes the sizes."""

    def __init__(self):
        super().__init__()
        self.network, self.rows = network(), []

    def forward(self, x):
        self.rows.append(len(x))
        return self.network(x) * (1 + 1e-5 * len(x)) + 1e-5 * len(x) * x[:, 0, 0, :5]


@pytest.fixture(scope="module")
def batch():
    ids = torch.arange(150)
    x = RANDOM.uniform(ids, (3, 6, 6))
    return Batch(x, network()(x).argmax(dim=1), ids)


def test_one_class_is_an_attack(batch):
    noise = drive(Noise(0.1, tries=20), network(), batch, RANDOM)
    pgd = drive(Pgd(0.1), network(), batch, RANDOM)
    assert 0 < int(noise.broken.sum()) < int(pgd.broken.sum())
    assert noise.backwards == 0
    assert (noise.linf <= 0.1 + 1e-7).all()


@pytest.mark.parametrize("size", [1, 32, 48, 100, 150])
def test_a_queue_longer_than_the_batch_changes_nothing(batch, size):
    attack = Pgd(0.02, steps=5, restarts=3)
    expected, other = (
        drive(attack, network(), batch, RANDOM),
        drive(attack, network(), batch, RANDOM, None, Passes(size)),
    )
    assert torch.equal(other.broken, expected.broken)
    torch.testing.assert_close(other.steps_to_break, expected.steps_to_break, equal_nan=True)
    assert (other.forwards, other.backwards) == (expected.forwards, expected.backwards)
    assert 0 < int(other.broken.sum()) < 150


def test_a_robust_sample_costs_its_budget_and_a_broken_one_no_more_than_it_took(batch):
    attack, easy = Pgd(1e-6, steps=5, restarts=3, random_start=False), Pgd(1.0, steps=5, random_start=False)
    robust, broken = (drive(one, network(), batch, RANDOM, passes=Passes(32)) for one in (attack, easy))
    assert not robust.broken.any()
    assert (robust.forwards, robust.backwards) == (150 * (2 + 3 * 6) + LOOKS + IMAGES, 150 * 15 + IMAGES)
    assert broken.broken.all()
    assert (broken.steps_to_break >= 1).all()
    assert broken.forwards == int(300 + (broken.steps_to_break + 1).sum())


def test_steps_to_break_go_on_over_restarts():
    """Everything is broken by the start of the second restart, after all steps of the first."""

    @dataclass(frozen=True)
    class Late(Noise):
        def entries(self, classes):
            return 2

        def start(self, model, fresh, rng):
            return State.at(torch.ones_like(fresh.x) if fresh.entry else fresh.x, fresh)

        def advance(self, model, state, rng):
            logits = model.logits(state.x)
            return self.observed(state, logits, self.objective(logits, state.y)).moved(state.x)

    class Bright(nn.Module):
        def forward(self, x):
            bright = (x == 1).all(dim=3).all(dim=2).all(dim=1).float()
            return torch.stack([1 - bright, bright], dim=1)

    data = Batch(torch.zeros(3, 1, 2, 2), torch.zeros(3, dtype=torch.int64), torch.arange(3))
    outcome = drive(Late(1.0, tries=4), Bright(), data, RANDOM)
    assert outcome.steps_to_break.tolist() == [4, 4, 4]


def test_the_goal_loss_keeps_everyone(batch):
    outcome = drive(Whole(0.1, steps=6), network(), batch, RANDOM)
    leaving = drive(Pgd(0.1, steps=6), network(), batch, RANDOM)
    assert outcome.backwards == 150 * 6 > leaving.backwards
    loss = [nn.functional.cross_entropy(found.logits, batch.y) for found in (outcome, leaving)]
    assert loss[0] > loss[1]
    assert torch.equal(outcome.broken, leaving.broken)


def test_the_strongest_points_are_those_that_are_judged_without_the_cost_of_judging(batch):
    model = Moody()
    points = strongest(Whole(0.1, steps=6), model, batch, 5, RANDOM, Passes(160))
    assert model.rows == [160] * 7
    assert torch.equal(points, drive(Whole(0.1, steps=6), Moody(), batch, RANDOM, passes=Passes(160)).inputs)


def test_trust_r3_holds_without_the_judging(batch):
    with pytest.raises(AssertionError, match=r"left the ball of radius 0.1"):
        strongest(Planted(0.1, end=lambda x: (x + 0.2).clamp(0, 1)), network(), batch, 5, RANDOM)


@pytest.mark.parametrize("goal", [Pgd, Whole])
def test_a_fixed_pass_is_kept_by_every_pass(batch, goal):
    """All samples are spent at once, and some wait from before: still no pass is longer."""
    outcomes = []
    for size in (32, 48, 64):
        model = Moody()
        outcomes.append(drive(goal(0.01, steps=5, restarts=2), model, batch, RANDOM, passes=Passes(size, 64)))
        assert set(model.rows) == {64}
    for other in outcomes[1:]:
        assert torch.equal(other.inputs, outcomes[0].inputs)
        assert torch.equal(other.logits, outcomes[0].logits)


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (lambda x: (x + 0.2).clamp(0, 1), "left the ball of radius 0.1"),
        (lambda x: x - 0.05, "left \\[0, 1\\] or is not finite"),
        (lambda x: x + 0.05, "left \\[0, 1\\] or is not finite"),
    ],
)
def test_trust_r3_an_attack_that_leaves_the_ball_or_the_box_is_a_bug(batch, end, message):
    with pytest.raises(AssertionError, match=message):
        drive(Planted(0.1, end=end), network(), batch, RANDOM)


def test_logits_that_are_not_numbers_are_no_verdict(batch):
    class Fragile(nn.Module):
        def forward(self, x):
            return network()(x) / (x == batch.x[0, 0, 0, 0]).flatten(1).any(dim=1, keepdim=True).float().clamp_max(0)

    data = Batch(batch.x[:1], batch.y[:1], batch.ids[:1])
    with pytest.raises(InputError, match="logits: must be finite"):
        drive(Pgd(0.1), Fragile(), data, RANDOM)


def test_a_point_wrong_within_rounding_is_not_given_up_for_one_of_higher_loss():
    """Cross-entropy may rise while the label is ahead again: then more steps would leave more robust."""
    attack, labels = Pgd(1.0), torch.zeros(1, dtype=torch.int64)
    first, second = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
    state = State.at(first, attack.fresh(Batch(first, labels, labels)))
    barely, flat = torch.tensor([[1.0, 1.00001, -9.0, -9.0]]), torch.tensor([[0.1, 0.0, 0.0, 0.0]])
    loss = nn.CrossEntropyLoss(reduction="none")
    state = attack.observed(state, barely, loss(barely, labels)).moved(second)
    state = attack.observed(state, flat, loss(flat, labels))
    assert loss(flat, labels) > loss(barely, labels)
    assert torch.equal(state.best, first)
    assert not state.done


def test_nothing_to_attack(batch):
    wrong = Batch(batch.x, (batch.y + 1) % 5, batch.ids)
    outcome = drive(ATTACKS.parse("pgd(eps=0.1)"), network(), wrong, RANDOM)
    assert outcome.broken.all()
    assert (outcome.forwards, outcome.backwards) == (150, 0)
