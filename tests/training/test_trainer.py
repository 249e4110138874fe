import numpy as np
import pytest
import torch

from robusteval import __version__
from robusteval.core.errors import InputError
from robusteval.core.types import Predictions
from robusteval.data import DATA
from robusteval.metrics import METRICS, accuracy_score
from robusteval.models import ARCHITECTURES
from robusteval.training import Recipe, Training
from robusteval.training.trainer import moments, parts
from robusteval.variants import VARIANTS

DIGITS = DATA.parse("digits")
RECIPE = Recipe(epochs=3, batch_size=32, lr=0.2)
SHORT = Recipe(epochs=1, batch_size=200, lr=0.1, validation=100)


def training(variant: str = "erm", recipe: Recipe = SHORT, seed: int = 0) -> Training:
    return Training(VARIANTS.parse(variant), DIGITS, ARCHITECTURES.parse("small-cnn"), recipe, seed)


def logits(model: torch.nn.Module, x: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return model(x).numpy()


@pytest.mark.parametrize("variant", ["erm", "mixup"])
def test_three_epochs_learn_the_digits(variant):
    epochs = []
    model, card = training(variant, RECIPE).run(epochs.append)
    test = DIGITS.split("test").batch()
    assert accuracy_score(logits(model, test.x), test.y) > 0.5
    assert not model.training
    assert [epoch.number for epoch in epochs] == [0, 1, 2]
    assert epochs[-1].loss < epochs[0].loss
    assert epochs[-1].steps == 3 * (1438 // 32)
    assert card.validation is None


def test_the_seed_decides_every_bit():
    generators = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002 - this is what must not move
    one, same, other = (training("mixup", seed=seed).run()[0].state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(tensor, same[name]) for name, tensor in one.items())
    assert not all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    assert torch.equal(generators[0], torch.get_rng_state())
    assert (generators[1] == np.random.get_state()[1]).all()  # noqa: NPY002


@pytest.mark.parametrize("variant", ["mixup", "mixup(alpha=0.2)"])
def test_variants_differ_in_nothing_but_themselves(variant):
    erm, mixup = training("erm").run()[0], training(variant).run()[0]
    assert not torch.equal(erm.network.stem[0].weight, mixup.network.stem[0].weight)
    assert torch.equal(erm.mean, mixup.mean)


def test_the_validation_part_is_held_out_in_proportion():
    train = DIGITS.split("train")
    rest, held = parts(train, 143, seed=0)
    assert (len(rest), len(held)) == (len(train) - 143, 143)
    assert set(rest.ids.tolist()) | set(held.ids.tolist()) == set(train.ids.tolist())
    assert set(held.ids.tolist()).isdisjoint(DIGITS.split("test").ids.tolist())
    proportion = torch.bincount(train.labels) * 143 / len(train)
    assert ((torch.bincount(held.labels) - proportion).abs() <= 1.5).all()
    assert parts(train, 143, seed=0)[1].digest == held.digest != parts(train, 143, seed=1)[1].digest
    assert parts(train, 0, seed=0) == (train, None)
    with pytest.raises(InputError, match="validation=1438: must be below the 1438 training samples"):
        parts(train, len(train), seed=0)


def test_the_card_says_what_the_checkpoint_depends_on():
    run = training("mixup(alpha=0.2)", seed=3)
    model, card = run.run()
    rest, held = parts(DIGITS.split("train"), 100, seed=3)
    assert (card.architecture, card.data, card.variant) == ("small-cnn", "digits", "mixup(alpha=0.2)")
    assert (card.seed, card.recipe, card.code) == (3, SHORT.card(), __version__)
    assert (card.classes, card.shape) == (tuple("0123456789"), (1, 8, 8))
    assert (card.mean, card.std) == moments(rest)
    assert card.data_digest == rest.digest
    assert set(card.validation) == set(METRICS.classes)
    predictions = Predictions.from_logits(logits(model, held.batch().x), held.labels.numpy())
    assert card.validation["nll"] == pytest.approx(METRICS.parse("nll")(predictions), rel=1e-5)
    assert run.settled(card)
    assert not any(training(variant, seed=seed).settled(card) for variant, seed in (("mixup", 3), (card.variant, 4)))
    assert not training(card.variant, RECIPE, 3).settled(card)


def test_moments_are_those_of_the_pixels():
    train = DIGITS.split("train")
    (mean,), (std,) = moments(train)
    pixels = train.images.double() / 255
    assert mean == pytest.approx(pixels.mean().item(), abs=1e-4)
    assert std == pytest.approx(pixels.std().item(), abs=1e-4)


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(InputError, match="batch_size=5000: must be at most the 1438 training samples"):
        training(recipe=Recipe(epochs=1, batch_size=5000, lr=0.1)).run()
