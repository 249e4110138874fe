"""What every training variant keeps (DESIGN 2)."""

import copy

import pytest
import torch
from torch import nn

from robusteval.core.rng import Stream
from robusteval.data import DATA, Augmentation
from robusteval.models import ARCHITECTURES
from robusteval.models.classifier import Classifier
from robusteval.variants import VARIANTS, Fitting, InputMixer

TRAIN = DATA.parse("digits").split("train").first(64)
BATCH = TRAIN.batch()
RNG = Stream.seeded(0).stream("step", 0)
CLASSES = 10


class Untrained:
    """Stands in for an ERM network: starting weights are enough for these laws."""

    key = "untrained"

    def __call__(self, epochs: int) -> nn.Module:
        return Classifier(ARCHITECTURES.parse("small-cnn").initialised(TRAIN.shape, CLASSES)).eval()


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("fitted")


@pytest.fixture(params=[*VARIANTS.classes, "local(weight='neighbours')"])
def variant(request, cache):
    fitting = Fitting(TRAIN, seed=0, erm=Untrained(), augmentation=Augmentation(), cache=cache)
    return VARIANTS.parse(request.param).prepared(fitting)


@pytest.fixture
def model() -> nn.Module:
    return Classifier(ARCHITECTURES.parse("small-cnn").initialised(TRAIN.shape, CLASSES)).train()


def test_the_loss_is_a_finite_scalar_with_a_gradient(variant, model):
    loss = variant.loss(model, BATCH, CLASSES, RNG)
    assert loss.shape == ()
    assert loss.isfinite()
    loss.backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in model.parameters())
    assert any((weight.grad != 0).any() for weight in model.parameters())


def test_the_same_numbers_give_the_same_loss(variant, model):
    losses = [variant.loss(copy.deepcopy(model), BATCH, CLASSES, RNG).item() for _ in range(2)]
    assert losses[0] == losses[1]


def test_the_same_seed_gives_the_same_losses_in_sequence(variant, model):
    def losses() -> list[float]:
        network, found = copy.deepcopy(model), []
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        for step in range(3):
            optimizer.zero_grad()
            loss = variant.loss(network, BATCH, CLASSES, Stream.seeded(0).stream("step", step))
            loss.backward()
            optimizer.step()
            found.append(loss.item())
        return found

    assert losses() == losses()


def test_what_it_is_given_stays_as_it_was(variant, model):
    before = [tensor.clone() for tensor in BATCH]
    state, generator = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    variant.loss(model, BATCH, CLASSES, RNG)
    assert all(torch.equal(*pair) for pair in zip(BATCH, before, strict=True))
    assert torch.equal(torch.get_rng_state(), generator)
    assert model.training
    assert all(weight.grad is None for weight in model.parameters())
    normalised = {
        f"{path}.{name}"
        for path, module in model.named_modules()
        if isinstance(module, nn.BatchNorm2d)
        for name, _ in module.named_buffers()
    }
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, state[name])}
    assert changed <= normalised
    counts = {model.state_dict()[name].item() for name in normalised if name.endswith("num_batches_tracked")}
    assert len(counts) == 1  # all layers saw the same passes
    if isinstance(variant, InputMixer):
        assert counts == {1}  # that of the loss, and none for augmenting, matching or densities


def test_the_loss_is_finite_in_bfloat16(variant, model):
    with torch.autocast("cpu", torch.bfloat16):
        loss = variant.loss(model, BATCH, CLASSES, RNG)
    loss.backward()
    assert loss.isfinite()
    assert loss.dtype == torch.float32
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in model.parameters())


def test_in_evaluation_mode_no_buffer_moves(variant, model):
    state = copy.deepcopy(model.eval().state_dict())
    variant.loss(model, BATCH, CLASSES, RNG)
    assert not model.training
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


def test_mixed_targets_are_distributions(variant):
    if not isinstance(variant, InputMixer):
        pytest.skip("it mixes no inputs")
    mixed = variant.mix(BATCH, CLASSES, RNG)
    assert mixed.x.shape[1:] == BATCH.x.shape[1:]
    assert mixed.targets.shape == (len(mixed.x), CLASSES)
    assert mixed.weights.shape == (len(mixed.x),)
    assert mixed.x.min() >= 0
    assert mixed.x.max() <= 1
    assert mixed.targets.min() >= 0
    torch.testing.assert_close(mixed.targets.sum(dim=1), torch.ones(len(mixed.x)))
    assert (mixed.weights >= 0).all()
    assert mixed.weights.sum() > 0
