"""Variants that mix pairs of inputs: their reductions to mixup and ERM, and their own laws (METHODS 7.1, 7.3, 7.5)."""

import math

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
        f"local(weight='neighbours', neighbours={N})",
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


class TestKmixup:
    def test_halves_mix_both_ways(self):
        x, targets, _, _ = mixed("kmixup(k=4)")
        torch.testing.assert_close(x.sum(dim=0), BATCH.x.sum(dim=0))
        torch.testing.assert_close(targets.sum(dim=0), functional.one_hot(BATCH.y, CLASSES).float().sum(dim=0))

    def test_nobody_meets_himself_and_an_odd_one_stays(self):
        odd = Batch(*(tensor[:31] for tensor in BATCH))
        alone = (mixed("kmixup(k=4)", batch=odd).x == odd.x).flatten(1).all(dim=1)
        assert alone.sum() == 1
        assert not (mixed("kmixup(k=4)").x == BATCH.x).flatten(1).all(dim=1).any()

    def test_larger_k_moves_less(self):
        moved = [((mixed(f"kmixup(k={k})", step=1).x - BATCH.x) ** 2).sum().item() for k in (1, 4, 16)]
        assert moved == sorted(moved, reverse=True)

    @pytest.mark.parametrize("k", [1, 2, 4, 16])
    def test_the_share_of_pairs_across_two_clusters_is_that_of_theory(self, k):
        """C(2k, k) / 4^k for two far-apart equal clusters and independent k-batches."""
        across, runs = [], 400
        for step in range(runs):
            side = torch.randint(2, (2 * k,), generator=GENERATOR)
            x = (side * 1000.0 + torch.randn(2 * k, generator=GENERATOR)).reshape(-1, 1, 1, 1)
            pairs = mixed(f"kmixup(k={k})", step, Batch(x, side, torch.arange(2 * k)), 2)
            across.append((pairs.targets.amin(dim=1) > 0).float().mean().item())
        expected = math.comb(2 * k, k) / 4**k
        spread = torch.tensor(across).std().item() / math.sqrt(runs)
        assert abs(sum(across) / runs - expected) < 4 * spread

    @pytest.mark.parametrize("k", [0, 17, -1])
    def test_k_has_its_range(self, k):
        with pytest.raises(InputError, match="k="):
            mixed(f"kmixup(k={k})")


class TestLocal:
    def test_a_dropped_pair_has_no_gradient(self):
        x = BATCH.x.clone().requires_grad_(True)
        pairs = mixed("local", batch=BATCH._replace(x=x))
        dropped = pairs.weights == 0
        assert 0 < dropped.sum() < N
        outputs = MODEL(pairs.x)
        outputs.retain_grad()
        losses = functional.cross_entropy(outputs, pairs.targets, reduction="none")
        ((pairs.weights * losses).sum() / pairs.weights.sum()).backward()
        assert (outputs.grad[dropped] == 0).all()
        assert (outputs.grad[~dropped] != 0).any(dim=1).all()

    @pytest.mark.parametrize("normaliser", ["weights", "batch"])
    def test_no_active_pair_is_a_finite_zero(self, normaliser):
        empty = next(step for step in range(99) if not mixed("local(radius=0.0)", step).weights.any())
        nothing = loss(f"local(radius=0.0, normaliser='{normaliser}')", empty)
        nothing.backward()
        assert nothing == 0
        assert all(weight.grad.isfinite().all() for weight in MODEL.parameters())

    @pytest.mark.parametrize(
        "family", ["radius={}", "weight='exponential', rate={}", "weight='neighbours', neighbours={}"]
    )
    def test_the_mean_weight_is_monotone(self, family):
        values = [1, 2, 3, 5] if "neighbours" in family else [0.5, 2.0, 3.0, 4.0]
        means = [mixed(f"local({family.format(value)})").weights.mean().item() for value in values]
        assert means == sorted(means, reverse="rate" in family)

    def test_intrusion_is_what_the_radius_removes(self):
        """Classes A B A at -10, 0, 10: mixing the two A clusters lands on B, and radius 12 removes just that."""
        place = torch.tensor([-10.0, 0.0, 10.0]).repeat(20)
        batch = Batch(place.reshape(-1, 1, 1, 1), (place == 0).long(), torch.arange(60))
        removed = 0
        for step in range(10):
            everyone, near = (mixed(f"local(radius={radius})", step, batch, 2) for radius in (1000.0, 12.0))
            intruding = (everyone.targets[:, 0] == 1) & (everyone.x.flatten().abs() < 9.9)
            assert torch.equal(near.weights == 0, intruding)
            removed += int(intruding.sum())
        assert removed > 50


class TestMidpoint:
    def test_it_is_the_middle_both_ways(self):
        x, targets, _, _ = mixed("midpoint")
        torch.testing.assert_close(targets.amax(dim=1).unique(), torch.tensor([0.5, 1.0]))
        partner = (
            Stream.seeded(0).stream("step", 0).stream("partner").permutation(torch.zeros(1, dtype=torch.int64), N)[0]
        )
        torch.testing.assert_close(x, (BATCH.x + BATCH.x[partner]) / 2)

    def test_the_loss_cannot_fall_below_its_floor(self):
        """(1 - 1/K) log 2 for balanced classes and random pairs: the best prediction is (1/2, 1/2)."""
        classes, n = 4, 400
        batch = Batch(torch.zeros(n, 1, 1, 1), torch.arange(n) % classes, torch.arange(n))
        entropies = []
        for step in range(30):
            targets = mixed("midpoint", step, batch, classes).targets
            entropies.append(torch.special.entr(targets).sum(dim=1).mean().item())
        assert sum(entropies) / 30 == pytest.approx((1 - 1 / classes) * math.log(2), rel=0.02)


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
