"""Expectation over transformation: what the mean over passes is worth, and that it is counted."""

import pytest
import torch
from torch import nn

from robusteval.attacks import ATTACKS, drive
from robusteval.attacks.eot_pgd import EotPgd
from robusteval.attacks.oracle import Oracle
from robusteval.attacks.pgd import Pgd
from robusteval.core.errors import InputError
from robusteval.core.rng import Stream
from robusteval.core.types import Batch

RANDOM, IDS = Stream.seeded(8), torch.arange(60)


class Noisy(nn.Module):
    """Two classes by a weighted sum; the weights are drowned in noise at every pass, and right in the mean."""

    def __init__(self, noise):
        super().__init__()
        self.noise = noise
        self.weight = RANDOM.stream("weight").normal(torch.arange(1), (48,))[0]

    def forward(self, x):
        weight = self.weight + self.noise * torch.randn(len(x), 48)
        lead = ((x.flatten(1) - 0.5) * weight).sum(dim=1)
        return torch.stack([lead, -lead], dim=1)


@pytest.fixture(scope="module")
def batch():
    x = 0.3 + 0.4 * RANDOM.uniform(IDS, (3, 4, 4))
    return Batch(x, Noisy(0)(x).argmax(dim=1), IDS)


def test_without_randomness_it_is_pgd(batch):
    model = Noisy(0)
    plain, mean = (drive(attack(0.02), model, batch, RANDOM.stream("a")) for attack in (Pgd, EotPgd))
    assert torch.equal(plain.broken, mean.broken)
    assert 0 < int(plain.broken.sum()) < 60


def test_the_mean_goes_up_where_single_passes_wander(batch):
    """After as many steps, the true lead of the label is lower."""

    def lead(attack):
        state = attack.start(None, attack.fresh(batch), RANDOM)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            for _ in range(5):
                state = attack.advance(Oracle(Noisy(5), eot=attack.eot), state, RANDOM)
        return Noisy(0)(state.x).gather(1, batch.y[:, None]).mean()

    single, mean = (lead(EotPgd(0.05, steps=5, random_start=False, eot=eot)) for eot in (1, 64))
    clean = Noisy(0)(batch.x).gather(1, batch.y[:, None]).mean()
    assert clean - mean > 2 * (clean - single)


def test_it_is_judged_by_means_and_says_nothing_of_randomness(batch):
    """One pass of such a model calls about half of all images wrong; the mean of many, few (TRUST R17)."""
    few, many = (drive(EotPgd(1e-6, steps=1, eot=eot), Noisy(3), batch, RANDOM) for eot in (1, 200))
    assert int(many.broken.sum()) < int(few.broken.sum()) - 10
    assert "randomised" in few.flags
    assert "randomised" not in many.flags


def test_eot_has_a_rule():
    assert ATTACKS.parse("eot-pgd(eps=8/255)").eot == 10
    for name in ("eot-pgd", "apgd", "autoattack"):
        with pytest.raises(InputError, match="eot=0: must be at least 1"):
            ATTACKS.parse(f"{name}(eps=8/255, eot=0)")
