from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from robusteval import __version__
from robusteval.calibration.temperature import best_temperature
from robusteval.core.errors import CheckpointError, InputError
from robusteval.core.rng import Stream
from robusteval.core.types import Predictions
from robusteval.data import DATA
from robusteval.data.digits import Digits
from robusteval.metrics import METRICS, accuracy_score
from robusteval.models import ARCHITECTURES
from robusteval.training import Desk, Recipe, Training
from robusteval.training.trainer import FIGURES, moments, parts
from robusteval.variants import VARIANTS

DIGITS = DATA.parse("digits")
RECIPE = Recipe(epochs=3, batch_size=64, lr=0.2)
SHORT = Recipe(epochs=1, batch_size=200, lr=0.1, validation=0.07)


def training(variant: str = "erm", recipe: Recipe = SHORT, seed: int = 0) -> Training:
    return Training(VARIANTS.parse(variant), DIGITS, ARCHITECTURES.parse("small-cnn"), recipe, seed)


def logits(model: torch.nn.Module, x: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return model(x).numpy()


@pytest.mark.parametrize("variant", VARIANTS.classes)
def test_three_epochs_learn_the_digits(variant):
    epochs: list[dict[str, float]] = []
    model, card, curves = training(variant, RECIPE).run(Desk(on_epoch=lambda rows: epochs.append(dict(rows[-1]))))
    test = DIGITS.split("test").batch()
    assert accuracy_score(logits(model, test.x), test.y) > 0.5
    assert not model.training
    assert epochs == curves
    assert [row["epoch"] for row in curves] == [1, 2, 3]
    assert curves[-1]["loss"] < curves[0]["loss"]
    assert (card.validation, card.temperature) == (None, None)


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
    rest, held = parts(train, 0.1, seed=0)
    assert len(held) == 144
    assert (len(rest), len(held)) == (len(train) - 144, 144)
    assert set(rest.ids.tolist()) | set(held.ids.tolist()) == set(train.ids.tolist())
    assert set(held.ids.tolist()).isdisjoint(DIGITS.split("test").ids.tolist())
    proportion = torch.bincount(train.labels) * 144 / len(train)
    assert ((torch.bincount(held.labels) - proportion).abs() <= 1.5).all()
    assert parts(train, 0.1, seed=0)[1].digest == held.digest != parts(train, 0.1, seed=1)[1].digest
    assert parts(train, 0, seed=0) == (train, None)
    with pytest.raises(InputError, match=r"validation=0.9999: must leave some of the 1438 training samples"):
        parts(train, 0.9999, seed=0)


def test_the_card_says_what_the_checkpoint_depends_on():
    run = training("mixup(alpha=0.2)", seed=3)
    model, card, curves = run.run()
    rest, held = parts(DIGITS.split("train"), 0.07, seed=3)
    assert (card.architecture, card.data, card.variant) == ("small-cnn", "digits", "mixup(alpha=0.2)")
    assert (card.seed, card.recipe, card.code) == (3, SHORT.card(), __version__)
    assert (card.classes, card.shape) == (tuple("0123456789"), (1, 8, 8))
    assert (card.mean, card.std) == moments(rest)
    assert card.data_digest == rest.digest
    assert set(card.validation) == set(FIGURES) <= set(METRICS.classes)
    predictions = Predictions.from_logits(logits(model, held.batch().x), held.labels.numpy())
    assert card.validation["nll"] == pytest.approx(METRICS.parse("nll")(predictions), rel=1e-5)
    assert card.validation == {name: curves[-1][f"validation_{name}"] for name in FIGURES}
    assert card.temperature == best_temperature(logits(model, held.batch().x), held.labels.numpy())
    assert run.settled(card)
    assert run.settled(
        card.model_copy(update={"recipe": {"epochs": 1, "batch_size": 200, "lr": 0.1, "validation": 0.07}})
    )
    assert not run.settled(card.model_copy(update={"recipe": {"epochs": "many"}}))
    assert not any(training(variant, seed=seed).settled(card) for variant, seed in (("mixup", 3), (card.variant, 4)))
    assert not training(card.variant, RECIPE, 3).settled(card)
    assert not run.settled(card.model_copy(update={"processes": 2}))
    assert not run.settled(card.model_copy(update={"data_digest": "that of other images"}))


def test_moments_are_those_of_the_pixels():
    train = DIGITS.split("train")
    (mean,), (std,) = moments(train)
    pixels = train.images.double() / 255
    assert mean == pytest.approx(pixels.mean().item(), abs=1e-4)
    assert std == pytest.approx(pixels.std().item(), abs=1e-4)


def test_a_batch_larger_than_the_data_is_refused():
    for attempt in (Training.run, Training.rehearse):
        with pytest.raises(InputError, match="batch_size=5000: must be at most the 1438 training samples"):
            attempt(training(recipe=Recipe(epochs=1, batch_size=5000, lr=0.1)))


class Killed(BaseException):
    """Stands for the end of the process."""


def stop_after(epoch):
    def on_epoch(rows):
        if len(rows) == epoch:
            raise Killed

    return on_epoch


class TestResume:
    @pytest.mark.parametrize("changes", [{}, {"ema": 0.9}, {"method": "adam", "lr": 0.002}])
    @pytest.mark.parametrize("variant", ["mixup", "local"])
    def test_an_interrupted_training_ends_in_the_same_bits(self, tmp_path, variant, changes):
        recipe = Recipe(**{"epochs": 3, "batch_size": 128, "lr": 0.1, "validation": 0.1, **changes})
        whole = training(variant, recipe).run()
        saved = tmp_path / "unfinished"
        for epoch in (1, 2):
            with pytest.raises(Killed):
                training(variant, recipe).run(Desk(saved, on_epoch=stop_after(epoch)))
        resumed = training(variant, recipe).run(Desk(saved))
        assert resumed.curves == whole.curves
        assert resumed.card == whole.card
        for name, tensor in whole.model.state_dict().items():
            assert torch.equal(tensor, resumed.model.state_dict()[name]), name

    def test_another_training_does_not_go_on_with_it(self, tmp_path):
        saved = tmp_path / "unfinished"
        with pytest.raises(Killed):
            training("erm").run(Desk(saved, on_epoch=stop_after(1)))
        for other in (training("mixup"), training("erm", seed=1), training("erm", RECIPE)):
            with pytest.raises(CheckpointError, match="an unfinished training with other settings: delete it"):
                other.run(Desk(saved))

    @pytest.mark.parametrize("content", [b"", b"nonsense", b"PK"])
    def test_a_damaged_file_is_said(self, tmp_path, content):
        saved = tmp_path / "unfinished"
        saved.write_bytes(content)
        with pytest.raises(CheckpointError, match="damaged: delete it to start anew"):
            training("erm").run(Desk(saved))


def test_the_average_is_that_of_the_weights():
    """With a factor near 1 the average hardly leaves the start; with one near 0 it is the last weights."""
    start = training("erm").architecture.initialised((1, 8, 8), 10).state_dict()["classify.1.weight"]
    ends = {
        ema: training(recipe=Recipe(epochs=1, batch_size=200, lr=0.1, ema=ema)).run().model.network.classify[1].weight
        for ema in (None, 1e-9, 0.9999999)
    }
    torch.testing.assert_close(ends[1e-9], ends[None])
    # The first step sets the average to the weights after it, a small step from the start.
    assert (ends[0.9999999] - start).norm() < 0.2 * (ends[None] - start).norm()


def test_bfloat16_learns_too():
    recipe = Recipe(epochs=2, batch_size=32, lr=0.2, precision="bf16", validation=0.1)
    model, card, _ = training("mixup", recipe).run()
    assert all(weight.dtype == torch.float32 for weight in model.parameters())
    assert card.validation["accuracy"] > 0.5


def test_notes_become_columns():
    curves = training("local").run().curves
    assert 0.3 < curves[0]["weight"] < 0.7
    assert {"moved", "unmoved"} < set(training("kmixup").run().curves[0])


def test_rehearsal_finds_what_does_not_fit():
    with pytest.raises(InputError, match=r"milestones=\(1.5,\): must be in"):
        training("varmixup", SHORT.model_copy(update={"milestones": (1.5,)})).rehearse()
    whole = nn.Sequential(nn.Conv2d(1, 10, 8), nn.Flatten())
    with pytest.raises(InputError, match="genlabel needs a network that ends in a linear layer"):
        VARIANTS.parse("genlabel").rehearse(whole, DIGITS.split("train").first(40).batch(), 10, Stream.seeded(0))
    with pytest.raises(InputError, match="k=150: must be at most half the batch, 100"):
        training("kmixup(k=150)").rehearse()
    one = replace(DATA.parse("digits").split("train"), labels=torch.zeros(1438, dtype=torch.int64))

    class OneClass(Digits):
        name = "one-class"

        def load(self, split):
            return one

    with pytest.raises(InputError, match="must have training samples of two classes or more, not 1"):
        replace(training(), data=OneClass()).rehearse()
