"""Midpoint mixup: the middle of pairs, the limit of mixup, and the floors of both losses (METHODS 7.5)."""

import math

import pytest
import torch
from torch import nn

from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.variants import VARIANTS

N, CLASSES = 32, 5
GENERATOR = torch.Generator().manual_seed(0)
X = torch.rand(N, 1, 8, 8, generator=GENERATOR)
BATCH = Batch(X, torch.randint(CLASSES, (N,), generator=GENERATOR), torch.arange(N) + 7)
MODEL = nn.Sequential(nn.Flatten(), nn.Linear(64, CLASSES))
RNG = Stream.seeded(0)


class Fixed(nn.Module):
    """The same logits whatever it sees."""

    def __init__(self, logits):
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, x):
        return self.logits


def mixed(spec, step=0, batch=BATCH, classes=CLASSES):
    return VARIANTS.parse(spec).mix(batch, classes, RNG.stream("step", step))


def loss(spec, step=0, batch=BATCH, model=MODEL, classes=CLASSES):
    return VARIANTS.parse(spec).loss(model, batch, classes, RNG.stream("step", step))


def balanced(classes, n):
    return Batch(torch.zeros(n, 1, 1, 1), torch.arange(n) % classes, torch.arange(n))


def test_it_is_the_middle_both_ways():
    x, targets, _, _ = mixed("midpoint")
    torch.testing.assert_close(targets.amax(dim=1).unique(), torch.tensor([0.5, 1.0]))
    partner = Stream.seeded(0).stream("step", 0).stream("partner").permutation(torch.zeros(1, dtype=torch.int64), N)[0]
    torch.testing.assert_close(x, (BATCH.x + BATCH.x[partner]) / 2)


def test_it_is_mixup_with_lambda_fixed_at_a_half_bit_for_bit(monkeypatch):
    monkeypatch.setattr(Stream, "beta", lambda _, ids, *rest: torch.full((len(ids),), 0.5, dtype=torch.float64))
    for step in range(3):
        for spec in ("mixup", "mixup(per_sample=True)"):
            pairs = zip(mixed("midpoint", step)[:3], mixed(spec, step)[:3], strict=True)
            assert all(torch.equal(*pair) for pair in pairs)
            assert torch.equal(loss("midpoint", step), loss(spec, step))


def test_it_is_the_limit_of_mixup():
    """The variance of lambda is 1 / (4 (2 alpha + 1)), and falls to nothing."""
    many = Batch(torch.zeros(4000, 1, 1, 1), torch.arange(4000) % 2, torch.arange(4000))
    for alpha in (0.5, 1.0, 10.0, 1000.0):
        targets = mixed(f"mixup(alpha={alpha}, per_sample=True)", 0, many, 2).targets
        apart = (targets[targets.amin(dim=1) > 0] - 0.5)[:, 0].square()
        spread = apart.std().item() / math.sqrt(len(apart))
        assert abs(apart.mean().item() - 1 / (4 * (2 * alpha + 1))) < 4 * spread
    for step in range(3):
        near, middle = mixed("mixup(alpha=1e6)", step), mixed("midpoint", step)
        torch.testing.assert_close(near.x, middle.x, rtol=0, atol=0.002)
        torch.testing.assert_close(near.targets, middle.targets, rtol=0, atol=0.002)
        torch.testing.assert_close(loss("mixup(alpha=1e6)", step), loss("midpoint", step), rtol=0, atol=0.01)


def test_swapping_the_ends_changes_nothing(monkeypatch):
    place = "robusteval.variants.midpoint.random_partner"
    partner = torch.randperm(N, generator=torch.Generator().manual_seed(1))
    swapped = Batch(BATCH.x[partner], BATCH.y[partner], BATCH.ids[partner])
    monkeypatch.setattr(place, lambda batch, rng: partner)
    ours, value = mixed("midpoint"), loss("midpoint")
    monkeypatch.setattr(place, lambda batch, rng: partner.argsort())
    for one, other in zip(ours[:3], mixed("midpoint", batch=swapped)[:3], strict=True):
        torch.testing.assert_close(one, other)
    torch.testing.assert_close(value, loss("midpoint", batch=swapped))


FLOORS = {0.1: 0.1347, 0.2: 0.2277, 0.5: 0.3863, 1: 0.5, 2: 0.5833, 10: 0.6688, 20: 0.6808, None: math.log(2)}


@pytest.mark.parametrize("alpha", FLOORS)
def test_the_loss_has_its_floor(alpha):
    """(1 - 1/K) E[H(lambda)] nats for K balanced classes and random pairs, reached by predicting the mixed labels."""
    spec = "midpoint" if alpha is None else f"mixup(alpha={alpha}, per_sample=True)"
    classes, steps, batch = 4, 20, balanced(4, 400)
    floors = []
    for step in range(steps):
        targets = mixed(spec, step, batch, classes).targets
        best = Fixed(targets.clamp_min(1e-30).log())
        floors.append(loss(spec, step, batch, best, classes).item())
        worse = Fixed(best.logits.detach() + torch.tensor([0.1, 0.0, 0.0, 0.0]))
        assert loss(spec, step, batch, worse, classes) > floors[-1]
    spread = torch.tensor(floors).std().item() / math.sqrt(steps)
    assert abs(sum(floors) / steps - (1 - 1 / classes) * FLOORS[alpha]) < 4 * spread + 1e-4


def test_between_two_classes_the_best_prediction_is_a_half_of_each():
    model = Fixed(torch.zeros(N, 2))
    batch = balanced(2, N)
    across = mixed("midpoint", 0, batch, 2).targets.amin(dim=1) > 0
    loss("midpoint", 0, batch, model, 2).backward()
    assert 0 < across.sum() < N
    assert (model.logits.grad[across] == 0).all()
    assert (model.logits.grad[~across] != 0).all()
