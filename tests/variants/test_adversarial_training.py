"""PGD-AT and TRADES: their reductions to ERM, what the search finds, and what it leaves alone (METHODS 6.8b)."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from robusteval.core.errors import InputError
from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.models import ARCHITECTURES
from robusteval.models.classifier import Classifier
from robusteval.variants import VARIANTS
from robusteval.variants.adversarial import Ascent, adversarial
from robusteval.variants.trades import divergence

N, CLASSES, EPS = 40, 3, 8 / 255
GENERATOR = torch.Generator().manual_seed(0)
BATCH = Batch(
    torch.rand(N, 1, 8, 8, generator=GENERATOR), torch.randint(CLASSES, (N,), generator=GENERATOR), torch.arange(N) + 7
)
RNG = Stream.seeded(0).stream("step", 0)
SPECS = ["pgd-at", "trades"]


class Watched(nn.Module):
    """Remembers the images that it was trained on."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.seen = network, []

    def forward(self, x):
        if self.training:
            self.seen.append(x.detach())
        return self.network(x)


@pytest.fixture
def linear() -> nn.Module:
    layer = nn.Linear(64, CLASSES)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(CLASSES, 64, generator=torch.Generator().manual_seed(1)))
    return nn.Sequential(nn.Flatten(), layer)


@pytest.fixture
def small() -> Classifier:
    return Classifier(ARCHITECTURES.parse("small-cnn").initialised((1, 8, 8), CLASSES)).train()


def loss(spec, model, batch=BATCH):
    return VARIANTS.parse(spec).loss(model, batch, CLASSES, RNG)


def trained_on(spec, network, batch=BATCH):
    model = Watched(network)
    loss(spec, model, batch)
    return model.seen[-1]


@pytest.mark.parametrize("spec", ["pgd-at(eps=0.0)", "trades(eps=0.0)", "trades(beta=0.0)"])
def test_without_a_ball_or_its_weight_it_is_erm(spec, small):
    assert torch.equal(loss(spec, small), functional.cross_entropy(small(BATCH.x), BATCH.y))


def test_pgd_at_trains_on_the_corner_of_the_ball_where_the_model_is_linear():
    """With two classes the cross-entropy rises along one fixed sign, wherever in the ball the start is."""
    two = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    weight = two[1].weight.detach()
    y = BATCH.y % 2
    ascent = torch.where(y[:, None] == 0, 1, -1) * (weight[1] - weight[0])
    corner = (BATCH.x + EPS * ascent.sign().reshape(BATCH.x.shape)).clamp(0, 1)
    torch.testing.assert_close(trained_on("pgd-at", two, BATCH._replace(y=y)), corner, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("spec", "reach"), [("pgd-at", EPS), ("trades", 0.006)])
def test_the_start_is_random_in_the_ball_or_beside_the_image(spec, reach, small):
    """A step too small to matter leaves the start: uniform in the ball, or 0.001 N(0, 1)."""
    moved = trained_on(f"{spec}(steps=1, step=1e-6)", small) - BATCH.x
    inner = moved[(BATCH.x > EPS) & (BATCH.x < 1 - EPS)]
    spread = {"pgd-at": EPS / 3**0.5, "trades": 0.001}[spec]
    assert inner.std().item() == pytest.approx(spread, rel=0.05)
    assert moved.abs().max() <= reach + 1e-5


@pytest.mark.parametrize("spec", SPECS)
def test_adversarial_images_are_in_the_ball_and_the_box(spec, small):
    sharp = Batch(BATCH.x.round(), BATCH.y, BATCH.ids)
    for batch in (BATCH, sharp):
        moved = trained_on(spec, small, batch)
        assert moved.min() >= 0
        assert moved.max() <= 1
        assert 0.9 * EPS < (moved - batch.x).abs().max() <= EPS + 1e-7
        assert (moved != batch.x).flatten(1).any(dim=1).all()


def test_more_steps_find_no_less(small):
    losses = []
    for steps in (1, 3, 10):
        found = adversarial(Ascent(EPS, steps=steps, step=2 / 255), small, BATCH, 3, RNG)
        losses.append(functional.cross_entropy(small.eval()(found), BATCH.y).item())
    assert losses == sorted(losses)


def test_trades_is_its_two_terms(linear):
    model = Watched(linear)
    value = loss("trades(beta=2.5)", model)
    clean, moved = (linear(x).log_softmax(dim=1) for x in model.seen)
    drift = (clean.exp() * (clean - moved)).sum(dim=1).mean()
    assert torch.equal(model.seen[0], BATCH.x)
    assert drift > 0
    torch.testing.assert_close(value, functional.nll_loss(clean, BATCH.y) + 2.5 * drift)


def test_trades_asks_for_no_label_in_its_search(linear):
    other = BATCH._replace(y=(BATCH.y + 1) % CLASSES)
    assert torch.equal(trained_on("trades", linear), trained_on("trades", linear, other))


def test_trades_drifts_further_than_pgd(linear):
    clean = linear(BATCH.x).log_softmax(dim=1)
    drifts = [divergence(linear(trained_on(spec, linear)), clean).mean() for spec in ("pgd-at", "trades")]
    assert drifts[1] > drifts[0]


def test_the_divergence_is_that_of_the_probabilities():
    generator = torch.Generator().manual_seed(3)
    p, q = (torch.randn(6, 4, generator=generator, dtype=torch.float64).softmax(dim=1) for _ in range(2))
    expected = (p * (p / q).log()).sum(dim=1)
    torch.testing.assert_close(divergence(q.log() + 3, p.log()), expected)
    torch.testing.assert_close(divergence(p.log(), p.log()), torch.zeros(6, dtype=torch.float64))


@pytest.mark.parametrize("spec", SPECS)
def test_every_module_keeps_its_own_mode_and_the_search_its_statistics_to_itself(spec, small):
    """A norm that is frozen in eval mode stays so, and the others see the passes of the loss, not of the search."""
    frozen, live = [module for module in small.modules() if isinstance(module, nn.BatchNorm2d)][:2]
    frozen.eval()
    modes = [module.training for module in small.modules()]
    statistics = frozen.running_mean.clone()
    loss(spec, small).backward()
    assert [module.training for module in small.modules()] == modes
    assert torch.equal(frozen.running_mean, statistics)
    assert live.num_batches_tracked == {"pgd-at": 1, "trades": 2}[spec]


@pytest.mark.parametrize("spec", SPECS)
def test_gradients_that_were_there_stay(spec, small):
    for weight in small.parameters():
        weight.grad = torch.full_like(weight, 3.0)
    loss(spec, small)
    assert all((weight.grad == 3).all() for weight in small.parameters())


@pytest.mark.parametrize("spec", SPECS)
def test_half_precision_gives_finite_losses_and_gradients(spec, small):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(spec, small)
    value.backward()
    assert value.isfinite()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in small.parameters())
    assert abs(value.item() - loss(spec, small).item()) < 0.1


@pytest.mark.parametrize("spec", SPECS)
def test_vectors_are_attacked_too(spec):
    vectors = Batch(torch.rand(N, 5, 1, 1, generator=GENERATOR), BATCH.y, BATCH.ids)
    assert loss(spec, nn.Sequential(nn.Flatten(), nn.Linear(5, CLASSES)), vectors).isfinite()


@pytest.mark.parametrize("spec", SPECS)
def test_a_compiled_network_is_searched_as_it_is(spec, small):
    compiled = copy.deepcopy(small)
    compiled.network.compile(backend="eager")
    assert torch.equal(loss(spec, small), loss(spec, compiled))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("pgd-at(eps=8.0)", "eps=8.0: must be at most 1 for linf"),
        ("pgd-at(steps=0)", "steps=0: must be at least 1"),
        ("trades(step=0.0)", "step=0.0: must be above 0 and finite"),
        ("trades(beta=-1.0)", "beta=-1.0: must be at least 0 and finite"),
    ],
)
def test_settings_have_their_range(spec, message):
    with pytest.raises(InputError, match=message):
        VARIANTS.parse(spec)


def test_the_search_of_trades_stays_in_full_precision(monkeypatch, small):
    """Its small start and small gradients would drown in the rounding of bfloat16."""
    seen = []

    def watched(attack, model, batch, classes, rng):
        seen.append(torch.is_autocast_enabled("cpu"))
        return batch.x

    monkeypatch.setattr("robusteval.variants.trades.adversarial", watched)
    with torch.autocast("cpu", torch.bfloat16):
        loss("trades", small)
    assert seen == [False]
