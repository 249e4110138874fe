"""Several radii in one run, and the oracle's passes."""

import math

import pytest
import torch
from torch import nn

import robusteval
from robusteval.attacks import ATTACKS, Passes, drive
from robusteval.attacks.flags import IMAGES, NEARBY, REPEATS
from robusteval.attacks.norms import NORMS
from robusteval.attacks.oracle import Oracle, predict
from robusteval.core.rng import Stream
from robusteval.core.types import Batch

RANDOM, IDS = Stream.seeded(8), torch.arange(96)
RADII = {"linf": (0.01, 0.02, 0.04, 0.08), "l2": (0.05, 0.1, 0.2, 0.4), "l1": (0.2, 0.5, 1.0, 2.0)}


def network(curvature=1.0):
    """A little net with balanced classes."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = nn.Sequential(nn.Flatten(), nn.Linear(48, 32), nn.Tanh(), nn.Linear(32, 5)).eval().requires_grad_(False)
    model[1].weight *= curvature
    model[3].bias -= model(RANDOM.uniform(torch.arange(500), (3, 4, 4))).mean(dim=0)
    return model


@pytest.fixture(scope="module")
def batch():
    x = RANDOM.stream("x").uniform(IDS, (3, 4, 4))
    y = network()(x).argmax(dim=1)
    return Batch(x, torch.where(IDS % 12 == 0, (y + 1) % 5, y), IDS)


def curve(batch, attack, radii, model=None, **options):
    listed = ", ".join(map(str, radii))
    head, _, tail = attack.partition("(")
    spec = f"{head}(eps=[{listed}]{', ' * bool(tail)}{tail or ')'}"
    return drive(ATTACKS.parse(spec), model or network(), batch, RANDOM, **options)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("spec", ["pgd(steps=20", "apgd(steps=30", "apgd(loss='t', steps=20, targets=2"])
def test_a_curve_is_that_of_single_runs(batch, spec, norm):
    radii = RADII[norm]
    found = curve(batch, f"{spec}, norm='{norm}')", radii)
    head, _, tail = spec.partition("(")
    singles = [
        drive(ATTACKS.parse(f"{head}(eps={eps}, norm='{norm}', {tail})"), network(), batch, RANDOM) for eps in radii
    ]
    robust = [int((found.distance > eps).sum()) for eps in radii]
    assert robust == sorted(robust, reverse=True)
    assert robust[0] > robust[-1] + 20
    for eps, single in zip(radii, singles, strict=True):
        assert int((single.broken != (found.distance <= eps)).sum()) <= 2
    assert found.backwards < 1.6 * max(single.backwards for single in singles)
    assert found.backwards < 0.7 * sum(single.backwards for single in singles)


@pytest.mark.parametrize("norm", NORMS)
def test_every_point_of_a_curve_is_a_witness(batch, norm):
    """The final image lies in the smallest ball in which its sample broke, and breaks there."""
    model, radii = network(), RADII[norm]
    found = curve(batch, f"pgd(norm='{norm}')", radii, model)
    size = NORMS[norm].size(found.inputs.double() - batch.x.double())
    broken = found.distance <= radii[-1]
    assert torch.equal(found.broken, broken)
    assert torch.equal(predict(model, found.inputs, 32).argmax(dim=1) != batch.y, broken)
    assert (size[broken] <= NORMS[norm].slack(found.distance[broken])).all()
    assert set(found.distance.tolist()) <= {0.0, *radii, math.inf}
    assert (found.distance[IDS % 12 == 0] == 0).all()


def test_a_cascade_goes_down_from_what_it_has(batch):
    radii = RADII["linf"]
    first = curve(batch, "apgd(steps=8)", radii)
    both = curve(batch, "autoattack(steps=8, targets=2, n_queries=20)", radii)
    assert (both.distance <= first.distance).all()
    assert bool((both.distance < first.distance).any())


@pytest.mark.parametrize("size", [1, 40, 96])
def test_a_curve_does_not_depend_on_the_batch_size_or_order(batch, size):
    expected = curve(batch, "pgd(steps=8)", RADII["linf"])
    other = curve(batch, "pgd(steps=8)", RADII["linf"], passes=Passes(size))
    assert torch.equal(other.distance, expected.distance)
    assert torch.equal(other.inputs, expected.inputs)
    order = IDS.flip(0)
    flipped = curve(Batch(*(tensor[order] for tensor in batch)), "pgd(steps=8)", RADII["linf"])
    assert torch.equal(flipped.distance, expected.distance[order])


def test_a_radius_of_0_is_clean(batch):
    found = curve(batch, "pgd(steps=8)", (0.0, 0.04))
    assert torch.equal(found.distance > 0, network()(batch.x).argmax(dim=1) == batch.y)


def test_what_rounds_otherwise_than_the_original_is_attacked_on_the_original(batch):
    """A form that takes a few safe samples for broken is not their last word."""

    class Wrong(nn.Module):
        def forward(self, x):
            return network()(x) * torch.where(x[:, 0, 0, 0] < 0.3, -1, 1)[:, None]

    expected = drive(ATTACKS.parse("pgd(eps=0.04)"), network(), batch, RANDOM)
    found = drive(ATTACKS.parse("pgd(eps=0.04)"), Wrong(), batch, RANDOM, judge=network())
    assert torch.equal(found.broken, expected.broken)


class Small(nn.Module):
    """Has the memory for a few rows."""

    def __init__(self, rows):
        super().__init__()
        self.model, self.rows, self.passes = network(), rows, []

    def forward(self, x):
        if len(x) > self.rows:
            raise torch.cuda.OutOfMemoryError("out of memory")
        self.passes.append(len(x))
        return self.model(x)


@pytest.mark.parametrize("fixed", [None, 48])
def test_a_pass_that_does_not_fit_is_halved(batch, fixed):
    expected = drive(ATTACKS.parse("pgd(eps=0.04)"), network(), batch, RANDOM)
    model = Small(40)
    found = drive(ATTACKS.parse("pgd(eps=0.04)"), model, batch, RANDOM, passes=Passes(48, fixed))
    assert torch.equal(found.broken, expected.broken)
    assert (found.forwards, found.backwards) == (expected.forwards, expected.backwards)
    assert max(model.passes) <= 40


def test_what_never_fits_is_an_error(batch):
    with pytest.raises(torch.cuda.OutOfMemoryError):
        drive(ATTACKS.parse("pgd(eps=0.04)"), Small(0), batch, RANDOM)


class Noisy(nn.Module):
    def forward(self, x):
        return network()(x + 0.1 * torch.randn_like(x))


def test_a_mean_over_draws_is_steadier_and_counted():
    x, y = RANDOM.uniform(IDS, (3, 4, 4)), IDS % 5
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for draws in (1, 100):
            oracle = Oracle(Noisy(), eot=draws)
            answers = [oracle.gradient(x, y) for _ in range(2)]
            spread = [(first - second).abs().mean() for first, second in zip(*answers, strict=True)]
            assert (oracle.forwards, oracle.backwards) == (2 * 96 * draws, 2 * 96 * draws)
            if draws == 1:
                alone = spread
    assert all(8 * steady < loose < 13 * steady for steady, loose in zip(spread, alone, strict=True))


def test_a_model_that_draws_at_random_is_judged_alike_every_time(batch):
    state = torch.get_rng_state()
    first, second = (drive(ATTACKS.parse("pgd(eps=0.02)"), Noisy(), batch, RANDOM) for _ in range(2))
    assert torch.equal(first.inputs, second.inputs)
    assert torch.equal(torch.get_rng_state(), state)


def test_coarse_gradients_leave_the_verdict_to_float32(batch):
    exact, coarse = (
        drive(ATTACKS.parse("pgd(eps=0.04)"), network(), batch, RANDOM, passes=Passes(precision=precision))
        for precision in ("float32", "bf16")
    )
    assert not torch.equal(exact.inputs, coarse.inputs)
    assert coarse.logits.dtype == torch.float32
    assert torch.equal(coarse.logits, predict(network(), coarse.inputs, 48))
    assert int((exact.broken != coarse.broken).sum()) <= 2


def test_where_nothing_is_left_robust_nothing_is_doubted(batch):
    found = drive(ATTACKS.parse("pgd(eps=1)"), network(), batch, RANDOM)
    assert found.broken.all()
    assert found.forwards <= 2 * 96 + int(found.steps_to_break.sum()) + 96 < 96 * 20 + IMAGES * (REPEATS + NEARBY)


def test_the_python_front_takes_a_list(batch):
    outcome = robusteval.attack(network(), batch.x, batch.y, "pgd(eps=[0.01, 0.04])")
    assert set(outcome.distance.tolist()) <= {0.0, 0.01, 0.04, math.inf}
