"""Each sign by itself, at its threshold; whole models are in tests/controls."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import nn

from robusteval.attacks import ATTACKS, drive, flags
from robusteval.attacks.attack import Cascade, State
from robusteval.attacks.bim import Bim
from robusteval.attacks.losses import cross_entropy, in_logits
from robusteval.attacks.noise import Noise
from robusteval.attacks.oracle import Oracle
from robusteval.core.rng import Stream
from robusteval.core.types import Batch

RANDOM = Stream.seeded(4)
LOGITS = RANDOM.normal(torch.arange(40), (5,))


def ones(share, n=100):
    """That share of n is True."""
    return torch.arange(n) < share * n


@pytest.mark.parametrize(("factor", "raised"), [(0.9, False), (1.1, True)])
@pytest.mark.parametrize("scale", [0.1, 1.0, 1000.0])
def test_randomised_is_a_spread_above_1e_4(factor, raised, scale):
    logits = LOGITS.double() * scale
    passes = logits.repeat(5, 1, 1)
    passes[3, 7, 2] += factor * 1e-4 * max(1.0, float(logits[7].abs().max()))
    assert flags.randomised(passes).tolist() == [raised and row == 7 for row in range(40)]


def test_probabilities_are_so_in_every_row():
    rows = LOGITS.softmax(dim=1)
    assert flags.probabilities(rows).all()
    assert not flags.probabilities(LOGITS).any()
    assert not flags.probabilities(LOGITS.log_softmax(dim=1)).any()
    rows[3] *= 1.001
    assert flags.probabilities(rows).tolist() == [row != 3 for row in range(40)]


@pytest.mark.parametrize(
    ("name", "shown", "of", "raised"),
    [
        ("randomised", 1, 5000, True),
        ("probabilities", 63, 64, False),
        ("probabilities", 64, 64, True),
        ("zero-gradients", 10, 100, False),
        ("zero-gradients", 11, 100, True),
        ("tiny-gradients", 50, 100, False),
        ("tiny-gradients", 51, 100, True),
        ("nan-gradients", 1, 1, True),
        ("black-box-beats-white-box", 2, 64, False),
        ("black-box-beats-white-box", 3, 64, True),
        ("black-box-beats-white-box", 3, 1500, False),
        ("black-box-beats-white-box", 4, 1500, True),
        ("loss-still-rising", 2, 10, False),
        ("loss-still-rising", 3, 60, True),
        ("loss-still-rising", 3, 61, False),
        ("unstable", 49, 100, False),
        ("unstable", 50, 100, True),
    ],
)
def test_a_flag_is_raised_from_its_threshold_on(name, shown, of, raised):
    assert flags.raised({name: (shown, of)}) == ((name,) if raised else ())


@pytest.mark.parametrize("name", flags.FLAGS)
def test_nothing_looked_at_raises_nothing(name):
    assert flags.raised({name: (0, 0)}) == ()


def test_a_tenth_of_the_steps_is_the_last_tenth():
    """After the iteration k the points of iterations 0 to k - 1 are seen."""
    assert [flags.late(budget) for budget in (10, 20, 100)] == [10, 19, 91]


def test_rising_is_5_percent_of_the_range_in_the_last_tenth():
    first, last = torch.zeros(3), torch.ones(3)
    assert flags.rising(first, torch.tensor([0.94, 0.96, 1.0]), last).tolist() == [True, False, False]
    assert not flags.rising(last, last, last).any()
    assert not flags.rising(first, first + torch.inf, first + torch.inf).any()


def test_unstable_is_a_tenth_of_what_the_attack_gained():
    here, found = torch.zeros(4), torch.tensor([1.0, -1.0, 2.0, 2.0])
    assert flags.unstable(here, torch.full((2, 4), 0.11), found).tolist() == [True, True, False, False]
    assert not flags.unstable(here, torch.full((2, 4), 0.09), found).any()


def test_cross_entropy_in_logits_is_the_lead_of_the_others_together():
    logits, y = 20 * LOGITS.double(), torch.arange(40) % 5
    others = logits.scatter(1, y[:, None], -torch.inf).logsumexp(dim=1) - logits.gather(1, y[:, None])[:, 0]
    torch.testing.assert_close(in_logits(cross_entropy(logits, y)), others, rtol=1e-6, atol=1e-4)
    assert in_logits(torch.tensor([torch.inf])).isposinf()


def linear(scale=1.0):
    model = nn.Sequential(nn.Flatten(), nn.Linear(27, 5)).requires_grad_(False).eval()
    model[1].weight.copy_(scale * RANDOM.normal(torch.arange(5), (27,)))
    model[1].bias.copy_(-model[1].weight.sum(dim=1) / 2)
    return model


@pytest.fixture(scope="module")
def batch():
    ids = torch.arange(64)
    x = RANDOM.uniform(ids, (3, 3, 3))
    return Batch(x, linear()(x).argmax(dim=1), ids)


def test_gradients_that_are_no_numbers_are_counted_and_0():
    class Rooted(nn.Module):
        def forward(self, x):
            return x.flatten(1).sqrt()[:, :5]

    x = torch.full((40, 1, 3, 3), 0.25)
    x[:3, 0, 0, 0] = 0
    oracle = Oracle(Rooted())
    answer = oracle.gradient(x, torch.zeros(40, dtype=torch.int64))
    assert oracle.bad == 3
    assert answer.gradient.isfinite().all()
    assert (answer.gradient[:3, 0, 0, 0] == 0).all()
    assert answer.gradient[:3].any()


def test_a_linear_model_raises_no_flag_in_any_norm(batch):
    for norm, eps in (("linf", 0.02), ("l2", 0.1), ("l1", 0.4)):
        outcome = drive(ATTACKS.parse(f"pgd(eps={eps}, norm='{norm}')"), linear(), batch, RANDOM)
        assert outcome.flags == ()
        assert 5 < outcome.broken.sum() < 60


def test_flags_do_not_depend_on_the_order(batch):
    attack, order = ATTACKS.parse("fgsm(eps=0.01)"), torch.arange(63, -1, -1)
    shuffled = Batch(*(tensor[order] for tensor in batch))
    assert drive(attack, linear(1e-10), batch, RANDOM).flags == ("tiny-gradients",)
    assert drive(attack, linear(1e-10), shuffled, RANDOM).flags == ("tiny-gradients",)


def test_gradients_are_not_looked_at_for_an_attack_that_uses_none(batch):
    outcome = drive(Noise(0.01, draws=3), linear(1e-10), batch, RANDOM)
    assert (outcome.flags, outcome.backwards) == ((), 0)


@dataclass(frozen=True)
class Idle(Bim):
    """Uses gradients to no avail."""

    def advance(self, model, state, rng):
        return state.moved(state.x)


@dataclass(frozen=True)
class Jump(Noise):
    """Uses none, and finds every wrong class."""

    def start(self, model, fresh, rng):
        return State.at(1 - fresh.x, fresh)

    def advance(self, model, state, rng):
        logits = model.logits(state.x)
        return self.observed(state, logits, cross_entropy(logits, state.y)).moved(state.x)


@dataclass(frozen=True)
class Pair(Cascade):
    name: ClassVar[str] = "pair"

    first: object = None
    second: object = None

    @property
    def searches(self):
        return (self.first, self.second)


def test_trust_r11_a_black_box_that_breaks_what_gradients_left_is_a_flag(batch):
    idle, jump = Idle(1.0, steps=2), Jump(1.0, draws=2)
    found = drive(Pair(1.0, first=idle, second=jump), linear(), batch, RANDOM)
    assert found.broken.sum() > 30
    assert "black-box-beats-white-box" in found.flags
    for one in (jump, Pair(1.0, first=jump, second=idle), Pair(1.0, first=jump, second=jump)):
        assert "black-box-beats-white-box" not in drive(one, linear(), batch, RANDOM).flags


def test_every_flag_is_one_word_with_one_sentence():
    for name, flag in flags.FLAGS.items():
        assert name.replace("-", "").isalpha()
        assert name.islower()
        assert flag.says.endswith(".")
        assert "\n" not in flag.says
