"""Variants that mix pairs of inputs: their reductions to mixup and ERM, and what all of them keep (METHODS 7)."""

import copy
import math
from dataclasses import fields

import pytest
import torch
from torch import nn
from torch.nn import functional

from robusteval.core.errors import InputError
from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.variants import VARIANTS

N, CLASSES = 32, 5
GENERATOR = torch.Generator().manual_seed(0)
X = torch.rand(N, 1, 8, 8, generator=GENERATOR)
BATCH = Batch(X, torch.randint(CLASSES, (N,), generator=GENERATOR), torch.arange(N) + 7)
MODEL = nn.Sequential(nn.Flatten(), nn.Linear(64, CLASSES))


def mixed(spec, step=0, batch=BATCH, classes=CLASSES):
    return VARIANTS.parse(spec).mix(batch, classes, Stream.seeded(0).stream("step", step))


def loss(spec, step=0, batch=BATCH):
    return VARIANTS.parse(spec).loss(MODEL, batch, CLASSES, Stream.seeded(0).stream("step", step))


@pytest.mark.parametrize(
    "spec",
    [
        "kmixup(k=1, pairing='same-batch')",
        "local(radius=1000.0)",
        "local(radius=1000.0, normaliser='batch')",
        "local(weight='exponential', rate=0.0)",
    ],
)
def test_what_reduces_to_mixup_is_mixup_bit_for_bit(spec):
    for step in range(3):
        for ours, theirs in zip(mixed(spec, step)[:3], mixed("mixup", step)[:3], strict=True):
            assert torch.equal(ours, theirs)
        assert torch.equal(loss(spec, step), loss("mixup", step)) or spec.endswith("'batch')")
        torch.testing.assert_close(loss(spec, step), loss("mixup", step))


@pytest.mark.parametrize(
    "spec", ["local(radius=0.0, self_pairs=True)", "local(weight='exponential', rate=1e9, self_pairs=True)"]
)
def test_what_drops_every_pair_is_erm(spec):
    erm = functional.cross_entropy(MODEL(BATCH.x), BATCH.y)
    for step in range(5):
        torch.testing.assert_close(loss(spec, step), erm)


@pytest.mark.parametrize("spec", ["mixup", "kmixup(k=4)", "local", "midpoint", "cutmix(probability=1.0)", "regmixup"])
def test_the_seed_and_nothing_else_makes_the_losses(spec):
    def losses(seed):
        model, found = copy.deepcopy(MODEL), []
        for step in range(5):
            value = VARIANTS.parse(spec).loss(model, BATCH, CLASSES, Stream.seeded(seed).stream("step", step))
            gradients = torch.autograd.grad(value, list(model.parameters()))
            with torch.no_grad():
                for weight, gradient in zip(model.parameters(), gradients, strict=True):
                    weight -= 0.1 * gradient
            found.append(value.item())
        return found

    assert losses(0) == losses(0)
    assert losses(0) != losses(1)


ALPHAS = [name for name, cls in VARIANTS.classes.items() if "alpha" in {field.name for field in fields(cls)}]


@pytest.mark.parametrize("name", ALPHAS)
class TestAlpha:
    @pytest.mark.parametrize("alpha", [0.0, -1.0, -math.inf])
    def test_it_is_above_zero(self, name, alpha):
        message = f"^alpha={alpha}: must be above 0; erm is the variant without mixing$"
        with pytest.raises(InputError, match=message):
            VARIANTS.classes[name](alpha=alpha)

    @pytest.mark.parametrize("alpha", [1.1e6, 1e308, math.inf, math.nan])
    def test_its_lambdas_are_numbers(self, name, alpha):
        with pytest.raises(InputError, match=r"^alpha=.*: must be above 0 and at most 1e6$"):
            VARIANTS.classes[name](alpha=alpha)
        assert VARIANTS.classes[name](alpha=1e6).alpha == 1e6


@pytest.mark.parametrize("alpha", [1e-300, 1e6])
def test_lambda_is_a_share_at_both_ends_of_alpha(alpha):
    targets = mixed(f"mixup(alpha={alpha}, per_sample=True)").targets
    assert ((targets >= 0) & (targets <= 1)).all()


class TestCutmix:
    def test_labels_follow_the_area(self):
        ones = Batch(torch.arange(N, dtype=torch.float32).reshape(N, 1, 1, 1).expand(N, 1, 8, 8), BATCH.y, BATCH.ids)
        cut = 0
        for step in range(20):
            x, targets, _, _ = mixed("cutmix(probability=1.0)", step, ones)
            kept = (x == ones.x).flatten(1).float().mean(dim=1)
            own = targets.gather(1, ones.y[:, None])[:, 0]
            assert (own >= kept - 1e-6).all()
            strange = kept < 1
            cut += int(strange.any())
            assert len(kept[strange].unique()) <= 1
        assert cut > 10

    def test_half_of_the_batches_stay_whole(self):
        whole = sum(torch.equal(mixed("cutmix", step).x, BATCH.x) for step in range(300))
        assert 120 < whole < 190


class TestRegmixup:
    def test_it_is_the_mean_of_erm_and_mixup(self):
        both = (functional.cross_entropy(MODEL(BATCH.x), BATCH.y) + loss("mixup(alpha=20.0)")) / 2
        torch.testing.assert_close(loss("regmixup"), both)


def test_label_smoothing_against_soft_targets():
    soft = functional.one_hot(BATCH.y, CLASSES) * 0.9 + 0.1 / CLASSES
    torch.testing.assert_close(loss("label-smoothing"), functional.cross_entropy(MODEL(BATCH.x), soft))
