"""Manifold mixup: its reduction to input mixup, and where it mixes (METHODS 6.2)."""

import copy

import pytest
import torch
from scipy import stats
from torch import nn
from torch.nn import functional

from robusteval.core.errors import InputError
from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.models import ARCHITECTURES
from robusteval.models.architecture import Staged
from robusteval.models.classifier import Classifier
from robusteval.variants import VARIANTS
from robusteval.variants.mixing import blended, one_share, random_partner, unmixed

N, CLASSES = 37, 3
GENERATOR = torch.Generator().manual_seed(0)
BATCH = Batch(
    torch.rand(N, 1, 8, 8, generator=GENERATOR), torch.randint(CLASSES, (N,), generator=GENERATOR), torch.arange(N) + 7
)


def rng(step=0):
    return Stream.seeded(0).stream("step", step)


def classifier(architecture="small-cnn"):
    return Classifier(ARCHITECTURES.parse(architecture).initialised((1, 8, 8), CLASSES), (0.4,), (0.3,)).train()


def loss(spec, model, step=0, batch=BATCH):
    return VARIANTS.parse(spec).loss(model, batch, CLASSES, rng(step))


class Doubling(nn.Module):
    """Remembers what came in, and hands on twice of it."""

    def forward(self, x):
        self.seen = x.detach()
        return 2 * x


class Tower(Staged):
    """Two stages of doubling, for vectors [n, 5, 1, 1]."""

    def __init__(self):
        super().__init__()
        self.first, self.second = Doubling(), Doubling()
        self.rest = nn.Sequential(nn.Flatten(), nn.Linear(5, CLASSES))

    @property
    def stages(self):
        return [self.first, self.second]

    @property
    def head(self):
        return self.rest

    def forward(self, x):
        return self.rest(self.second(self.first(x)))


@pytest.mark.parametrize("model", [classifier(), nn.Sequential(nn.Flatten(), nn.Linear(64, CLASSES))])
def test_at_the_images_it_is_input_mixup_bit_for_bit(model):
    for step in range(5):
        losses, gradients = [], []
        for spec in ("manifold(layers=(0,))", "mixup(alpha=2.0)"):
            network = copy.deepcopy(model)
            losses.append(loss(spec, network, step))
            gradients.append(torch.autograd.grad(losses[-1], list(network.parameters())))
        assert torch.equal(*losses)
        assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))


@pytest.mark.parametrize(
    "architecture", ["small-cnn", "resnet-cifar(depth=8)", "preact-resnet", "wide-resnet(depth=10, width=1)"]
)
@pytest.mark.parametrize("layer", [1, 2])
def test_features_of_the_networks_own_forward_are_mixed(architecture, layer):
    """Against a hook on the stage after the layer, in value and gradient."""
    model = classifier(architecture)
    twin = copy.deepcopy(model)
    partner, share = random_partner(BATCH, rng()), one_share(BATCH, 2.0, rng())
    twin.network.stages[layer].register_forward_pre_hook(lambda _, x: (blended(x[0], partner, share),))
    targets = blended(unmixed(BATCH, CLASSES).targets, partner, share)
    expected = functional.cross_entropy(twin(BATCH.x), targets)
    value = loss(f"manifold(layers=({layer},))", model)
    torch.testing.assert_close(value, expected)
    for network, total in ((model, value), (twin, expected)):
        network.zero_grad()
        total.backward()
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)
    for ours, theirs in zip(model.buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_layers_are_drawn_evenly():
    model, counts = Classifier(Tower()), [0, 0, 0]
    vectors = Batch(torch.rand(N, 5, 1, 1, generator=GENERATOR), BATCH.y, BATCH.ids)
    for step in range(600):
        assert loss("manifold", model, step, vectors).isfinite()
        first, second = model.network.first.seen, model.network.second.seen
        mixed_before = [not torch.equal(first, vectors.x), not torch.equal(second, 2 * first)]
        counts[mixed_before.index(True) if any(mixed_before) else 2] += 1
    assert stats.chisquare(counts).pvalue > 1e-3


def test_the_layer_after_the_last_stage_is_the_heads_input():
    """Where all stages are linear the place does not matter."""
    model = Classifier(Tower())
    vectors = Batch(torch.rand(N, 5, 1, 1, generator=GENERATOR), BATCH.y, BATCH.ids)
    losses = [loss(f"manifold(layers=({layer},))", model, 0, vectors) for layer in range(3)]
    torch.testing.assert_close(losses[1], losses[0])
    torch.testing.assert_close(losses[2], losses[0])


@pytest.mark.parametrize("layer", [0, 1, 3])
def test_half_precision_gives_nearly_the_same_loss(layer):
    model = classifier()
    full = loss(f"manifold(layers=({layer},))", copy.deepcopy(model))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = loss(f"manifold(layers=({layer},))", model)
    half.backward()
    assert abs(half.item() - full.item()) < 0.05
    assert all(weight.grad.isfinite().all() for weight in model.parameters())


@pytest.mark.parametrize(
    ("model", "name"), [(Classifier(nn.Flatten()), "Flatten"), (nn.Sequential(nn.Flatten()), "Sequential")]
)
def test_a_network_without_stages_is_refused_from_the_first_batch(model, name):
    message = f"architecture='{name}': manifold needs a network with stages, as own ones have"
    for step in range(5):
        with pytest.raises(InputError, match=message):
            loss("manifold", model, step)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("manifold(alpha=0.0)", "alpha=0.0: must be above 0"),
        ("manifold(layers=())", r"layers=\(\): must be numbers of stages, 0 for the images"),
        ("manifold(layers=(1, -1))", r"layers=\(1, -1\): must be numbers of stages"),
        ("manifold(layers=(0, 4))", r"layers=\(0, 4\): must be at most 3, the stages of this network"),
    ],
)
def test_settings_have_their_range(spec, message):
    with pytest.raises(InputError, match=message):
        loss(spec, classifier())
