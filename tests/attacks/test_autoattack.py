"""The cascade: survivors only, the worst case of each sample, and what the parts alone would say."""

import pytest
import torch
from torch import nn

import robusteval
from robusteval.attacks import ATTACKS, drive
from robusteval.core.errors import InputError
from robusteval.core.rng import Stream
from robusteval.core.types import Batch

RANDOM = Stream.seeded(3)
EPS = "0.5/255"
SMALL = "steps=10, targets=2, n_queries=30"


def test_the_standard_version_is_the_authors():
    specs = [search.spec for search in ATTACKS.parse("autoattack(eps=8/255)").searches]
    assert specs == ["apgd(eps=8/255)", "apgd(eps=8/255, loss='t')", "fab(eps=8/255)", "square(eps=8/255)"]
    assert ATTACKS.parse("autoattack(eps=8/255)").grade == "A"
    assert ATTACKS.parse("autoattack(eps=8/255, steps=50)").grade == "quick"


def test_the_other_versions_are_the_authors():
    plus, rand = (ATTACKS.parse(f"autoattack(eps=8/255, mode='{mode}')") for mode in ("plus", "rand"))
    assert [search.spec for search in plus.searches] == [
        "apgd(eps=8/255, restarts=5)",
        "apgd(eps=8/255, loss='dlr', restarts=5)",
        "fab(eps=8/255, restarts=5, targeted=False)",
        "square(eps=8/255)",
        "apgd(eps=8/255, loss='t')",
        "fab(eps=8/255)",
    ]
    assert [search.spec for search in rand.searches] == [
        "apgd(eps=8/255, eot=20)",
        "apgd(eps=8/255, loss='dlr', eot=20)",
    ]
    assert (plus.grade, rand.grade) == ("A", "B")
    assert ATTACKS.parse("autoattack(eps=8/255, mode='plus', n_queries=4999)").grade == "quick"
    assert ATTACKS.parse("autoattack(eps=8/255, mode='rand', eot=10)").grade == "quick"


def test_plus_breaks_what_standard_leaves_or_as_much():
    """A little net, both versions at the same budgets."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = nn.Sequential(nn.Flatten(), nn.Linear(48, 32), nn.Tanh(), nn.Linear(32, 5)).eval()
    ids = torch.arange(64)
    x = Stream.seeded(4).uniform(ids, (3, 4, 4))
    model[3].bias.data -= model(x).mean(dim=0)
    y = model(x).argmax(dim=1)
    specs = [f"autoattack(eps=0.03, {mode}{SMALL})" for mode in ("", "mode='plus', ")]
    standard, plus = (robusteval.attack(model, x, y, spec) for spec in specs)
    assert 5 < int(standard.broken.sum()) <= int(plus.broken.sum()) < 60


class Noisy(nn.Module):
    """A layer of noise before a linear one, drawn anew at every pass: a defence by randomness alone."""

    def __init__(self):
        super().__init__()
        self.weight = Stream.seeded(5).normal(torch.arange(4), (48,))

    def forward(self, x):
        return (x + 0.2 * torch.randn_like(x) - 0.5).flatten(1) @ self.weight.T


def test_trust_r17_rand_sees_through_noise_that_hides_the_gradient():
    """Judged by means, more is right from the start than by one pass, and what is broken is so in the mean."""
    model, ids = Noisy(), torch.arange(64)
    x = 0.3 + 0.4 * Stream.seeded(6).uniform(ids, (3, 4, 4))
    y = ((x - 0.5).flatten(1) @ model.weight.T).argmax(dim=1)
    mean = drive(ATTACKS.parse("autoattack(eps=0.03, mode='rand', steps=10, eot=40)"), model, Batch(x, y, ids), RANDOM)
    once = drive(ATTACKS.parse("autoattack(eps=0.03, mode='rand', steps=10, eot=1)"), model, Batch(x, y, ids), RANDOM)
    assert int((mean.distance == 0).sum()) < int((once.distance == 0).sum())
    right = []
    for found in (mean, once):
        exact = ((found.inputs - 0.5).flatten(1) @ model.weight.T).argmax(dim=1) != y
        right.append(exact == found.broken)
    assert int(right[0].sum()) > int(right[1].sum()) + 5
    assert "randomised" not in mean.flags


@pytest.mark.parametrize("field", ["steps", "targets", "n_queries", "eot"])
def test_budgets_have_a_rule(field):
    with pytest.raises(InputError, match=f"{field}=0: must be at least 1"):
        ATTACKS.parse(f"autoattack(eps=8/255, {field}=0)")


def test_it_breaks_what_its_parts_break_and_spends_less(resnet20, cifar):
    batch = Batch(*(tensor[:48] for tensor in cifar))
    whole = robusteval.attack(resnet20, batch.x, batch.y, f"autoattack(eps={EPS}, {SMALL})", ids=batch.ids)
    parts = [
        robusteval.attack(resnet20, batch.x, batch.y, spec, ids=batch.ids)
        for spec in (
            f"apgd(eps={EPS}, steps=10)",
            f"apgd(eps={EPS}, loss='t', steps=10, targets=2)",
            f"fab(eps={EPS}, steps=10, targets=2)",
            f"square(eps={EPS}, n_queries=30)",
        )
    ]
    assert whole.broken[parts[0].broken].all()
    assert int(whole.broken.sum()) >= max(int(part.broken.sum()) for part in parts)
    assert whole.forwards < sum(part.forwards for part in parts)
    assert whole.backwards < sum(part.backwards for part in parts)
