"""Local mixup: its weights, and the pairs it drops (METHODS 7.3)."""

import pytest
import torch
from torch import nn

from robusteval.core.errors import InputError
from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.data import Augmentation, Split
from robusteval.variants import VARIANTS, Fitting

N, CLASSES = 32, 5
GENERATOR = torch.Generator().manual_seed(0)
X = torch.rand(N, 1, 8, 8, generator=GENERATOR)
BATCH = Batch(X, torch.randint(CLASSES, (N,), generator=GENERATOR), torch.arange(N) + 7)
TRAIN = Split(X, BATCH.y, BATCH.ids, tuple("abcde"))
MODEL = nn.Sequential(nn.Flatten(), nn.Linear(64, CLASSES))
RNG = Stream.seeded(0)
WEIGHTS = ["threshold", "exponential", "neighbours"]


class Watched(nn.Module):
    """Keeps its logits, and their gradient."""

    def forward(self, x):
        self.outputs = MODEL(x)
        self.outputs.retain_grad()
        return self.outputs


def untrained(epochs):
    raise AssertionError("local mixup needs no network")


def variant(spec, train=TRAIN):
    return VARIANTS.parse(spec).prepared(Fitting(train, seed=0, erm=untrained, augmentation=Augmentation()))


def mixed(spec, step=0, batch=BATCH, classes=CLASSES, train=TRAIN):
    return variant(spec, train).mix(batch, classes, RNG.stream("step", step))


def loss(spec, step=0, batch=BATCH):
    return variant(spec).loss(MODEL, batch, CLASSES, RNG.stream("step", step))


@pytest.mark.parametrize("spec", ["local", "local(normaliser='batch')", "local(weight='neighbours')"])
def test_a_dropped_pair_has_no_gradient(spec):
    model, dropped = Watched(), mixed(spec).weights == 0
    variant(spec).loss(model, BATCH, CLASSES, RNG.stream("step", 0)).backward()
    assert 0 < dropped.sum() < N
    assert (model.outputs.grad[dropped] == 0).all()
    assert (model.outputs.grad[~dropped] != 0).any(dim=1).all()


@pytest.mark.parametrize("normaliser", ["weights", "batch"])
def test_no_active_pair_is_a_finite_zero(normaliser):
    empty = next(step for step in range(99) if not mixed("local(radius=0.0)", step).weights.any())
    nothing = loss(f"local(radius=0.0, normaliser='{normaliser}')", empty)
    nothing.backward()
    assert nothing == 0
    assert all(weight.grad.isfinite().all() for weight in MODEL.parameters())


@pytest.mark.parametrize("family", ["radius={}", "weight='exponential', rate={}", "weight='neighbours', neighbours={}"])
def test_the_mean_weight_is_monotone(family):
    values = [0.05, 0.1, 0.3, 1.0] if "neighbours" in family else [0.5, 2.0, 3.0, 4.0]
    means = [mixed(f"local({family.format(value)})").weights.mean().item() for value in values]
    assert means[0] != means[-1]
    assert means == sorted(means, reverse="rate" in family)


def test_intrusion_is_what_the_radius_removes():
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


@pytest.mark.parametrize("weight", WEIGHTS)
def test_the_weight_does_not_depend_on_lambda(weight):
    for step in range(5):
        few, many = (mixed(f"local(weight='{weight}', alpha={alpha})", step) for alpha in (0.2, 10.0))
        assert not torch.equal(few.x, many.x)
        assert torch.equal(few.weights, many.weights)
        assert 0 < few.weights.mean() < 1


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("n", [1, 2, N])
def test_where_most_samples_are_the_same_weights_are_numbers(weight, n):
    """The median distance is 0: what meets its like counts as in mixup, and what does not, not at all."""
    x = torch.full((n, 1, 8, 8), 1 / 3)
    x[2:4] = 1
    batch = Batch(x, torch.zeros(n, dtype=torch.int64), torch.arange(n))
    train = Split(*batch, classes=tuple("abcde"))
    for step in range(5):
        found = mixed(f"local(weight='{weight}')", step, batch, train=train)
        alike = (found.x == batch.x).flatten(1).all(dim=1)
        assert torch.equal(found.weights[alike], torch.ones(int(alike.sum())))
        assert weight == "neighbours" or not found.weights[~alike].any()


class TestNeighbours:
    """What the graph itself keeps stands in test_neighbours.py."""

    @pytest.mark.parametrize("options", ["", ", normaliser='batch'"])
    def test_all_of_them_are_mixup_bit_for_bit(self, options):
        """Of augmented images too, which may be farther apart than any two of the training part."""
        torn = BATCH._replace(x=(BATCH.x > 0.5).float())
        for step, batch in enumerate((BATCH, torn, torn)):
            local = mixed(f"local(weight='neighbours', neighbours=1.0{options})", step, batch)
            mixup = mixed("mixup", step, batch)
            assert all(torch.equal(*pair) for pair in zip(local[:3], mixup[:3], strict=True))
        torch.testing.assert_close(loss(f"local(weight='neighbours', neighbours=1.0{options})"), loss("mixup"))

    def test_the_graph_is_that_of_the_training_part_not_of_the_batch(self):
        """Two far-apart groups: the nearest three in ten of the part are of one's own group, whoever the batch has."""
        x = torch.cat([torch.linspace(0, 0.1, 20), torch.linspace(0.9, 1, 40)]).reshape(-1, 1, 1, 1)
        train = Split(x, torch.zeros(60, dtype=torch.int64), torch.arange(60) * 3, ("a",))
        rows = torch.cat([torch.arange(10), torch.arange(20, 30)])
        kept = mixed("local(weight='neighbours', neighbours=0.3)", 0, train.batch(rows), 1, train).weights
        x = mixed("mixup(alpha=1e6)", 0, train.batch(rows), 1, train).x.flatten()
        assert torch.equal(kept == 0, (x > 0.2) & (x < 0.8))
        assert 0 < kept.sum() < 20

    def test_it_trains_with_what_prepared_returns(self):
        plain = VARIANTS.parse("local(weight='neighbours')")
        with pytest.raises(
            RuntimeError, match=r"local\(weight='neighbours'\) has no graph yet: train with what prepared"
        ):
            plain.mix(BATCH, CLASSES, RNG)
        plain.rehearse(MODEL, BATCH, CLASSES, RNG)
        for weight in ("threshold", "exponential"):
            other = VARIANTS.parse(f"local(weight='{weight}')")
            assert variant(other) is other

    def test_the_curves_show_the_mean_weight(self):
        found = variant("local(weight='neighbours')").loss_with_notes(MODEL, BATCH, CLASSES, RNG.stream("step", 0))
        assert found.notes["weight"] == mixed("local(weight='neighbours')").weights.mean()

    def test_the_default_is_a_tenth(self):
        for step in range(3):
            default, tenth = (mixed(f"local(weight='neighbours'{share})", step) for share in ("", ", neighbours=0.1"))
            assert torch.equal(default.weights, tenth.weights)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("radius=1.0, weight='exponential'", "radius=1.0: needs weight='threshold'"),
        ("radius=1.0, weight='neighbours'", "radius=1.0: needs weight='threshold'"),
        ("rate=1.0", "rate=1.0: needs weight='exponential'"),
        ("rate=0.0, weight='neighbours'", "rate=0.0: needs weight='exponential'"),
        ("neighbours=0.1", "neighbours=0.1: needs weight='neighbours'"),
        ("neighbours=1.0, weight='exponential'", "neighbours=1.0: needs weight='neighbours'"),
        (
            "weight='neighbours', neighbours=0.0",
            r"neighbours=0.0: must be a share of the training samples, in \(0, 1\]",
        ),
        (
            "weight='neighbours', neighbours=10",
            r"neighbours=10.0: must be a share of the training samples, in \(0, 1\]",
        ),
        ("radius=-1.0", "radius=-1.0: must be at least 0"),
        ("weight='exponential', rate=-1.0", "rate=-1.0: must be at least 0 and finite"),
    ],
)
def test_settings_have_their_range_and_their_use(settings, message):
    with pytest.raises(InputError, match=f"^{message}$"):
        VARIANTS.parse(f"local({settings})")
