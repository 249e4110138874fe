"""Points found on another model: as on this one where they are twins, and never more than the file says."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from robusteval.attacks import ATTACKS, drive
from robusteval.attacks.flags import IMAGES, NEARBY, REPEATS
from robusteval.attacks.mifgsm import Mifgsm
from robusteval.attacks.oracle import Oracle, predict
from robusteval.attacks.transfer import Transfer
from robusteval.core.errors import InputError, RobustevalError
from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.models import ARCHITECTURES
from robusteval.models.checkpoint import Card, save
from robusteval.models.classifier import Classifier

RANDOM, IDS, SHAPE = Stream.seeded(8), torch.arange(60), (3, 4, 4)
MLP = "mlp(widths=(32,))"


def classifier(seed, shape=SHAPE, classes=5):
    """Balanced, so that some images are near a boundary."""
    model = Classifier(ARCHITECTURES.parse(MLP).initialised(shape, classes, seed)).eval()
    last = [module for module in model.modules() if isinstance(module, torch.nn.Linear)][-1]
    last.bias.data -= model(RANDOM.uniform(torch.arange(300), shape)).mean(dim=0).detach()
    return model


def stored(path, model, shape=SHAPE, classes=5):
    save(path, model, Card(architecture=MLP, classes=tuple("abcdefgh"[:classes]), shape=shape))
    return str(path)


@pytest.fixture(scope="module")
def model():
    return classifier(0)


@pytest.fixture(scope="module")
def batch(model):
    x = RANDOM.uniform(IDS, SHAPE)
    return Batch(x, predict(model, x, 60).argmax(dim=1), IDS)


@pytest.fixture
def twin(tmp_path, model):
    return stored(tmp_path / "twin.safetensors", model)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_on_a_twin_it_is_mifgsm(norm, twin, model, batch):
    eps = {"linf": 0.02, "l2": 0.1}[norm]
    found = drive(Transfer(eps, norm, steps=10, source=twin), model, batch, RANDOM)
    expected = drive(Mifgsm(eps, norm, steps=10, step=2.5 * eps / 10), model, batch, RANDOM)
    assert torch.equal(found.broken, expected.broken)
    torch.testing.assert_close(found.steps_to_break, expected.steps_to_break, equal_nan=True)
    torch.testing.assert_close(found.inputs[found.broken], expected.inputs[found.broken], rtol=0, atol=1e-6)
    assert 10 < int(found.broken.sum()) < 60


def test_passes_through_the_source_are_not_counted(twin, model, batch):
    found = drive(Transfer(1e-6, steps=3, restarts=2, source=twin), model, batch, RANDOM)
    assert not found.broken.any()
    assert found.backwards == 0
    changed = int((found.inputs != batch.x).flatten(1).any(dim=1).sum())
    assert found.forwards == 60 * (1 + 2 * (3 + 1)) + changed + IMAGES * (REPEATS + NEARBY)


def test_a_stranger_carries_over_less_than_a_twin_and_more_than_noise(tmp_path, twin, model, batch):
    near = classifier(0)
    for number, parameter in enumerate(near.parameters()):
        noise = RANDOM.stream("near", number).normal(torch.arange(1), parameter.shape)[0]
        parameter.data += 0.3 * parameter.data.std() * noise
    stranger = stored(tmp_path / "stranger.safetensors", near)
    specs = [f"transfer(eps=0.05, steps=10, source={source!r})" for source in (twin, stranger)]
    own, other, noise = (
        int(drive(ATTACKS.parse(spec), model, batch, RANDOM).broken.sum()) for spec in (*specs, "noise(eps=0.05)")
    )
    assert noise < other < own


def test_it_shows_where_gradients_of_the_model_itself_fail(twin, model, batch):
    """TRUST R11: what hides its gradient and breaks all the same."""

    class Quantised(torch.nn.Module):
        def forward(self, x):
            return model((x * 255).round().to(torch.uint8) / 255)

    spec = f"transfer(eps=0.05, source={twin!r})"
    assert not drive(ATTACKS.parse("pgd(eps=0.05, random_start=False)"), Quantised(), batch, RANDOM).broken.any()
    assert int(drive(ATTACKS.parse(spec), Quantised(), batch, RANDOM).broken.sum()) > 20


def test_restarts_begin_in_the_ball_and_decay_0_forgets(twin, model, batch):
    attack = Transfer(0.05, restarts=2, source=twin)
    first, second = (attack.start(Oracle(model), attack.fresh(batch, entry), RANDOM) for entry in range(2))
    assert torch.equal(first.x, batch.x)
    assert 0.04 < float((second.x - batch.x).abs().max()) <= 0.05 + 1e-7
    state = replace(first, momentum=torch.ones_like(first.x))
    kept, forgotten = (
        replace(attack, decay=decay).advance(Oracle(model), state, RANDOM).momentum for decay in (1.0, 0.0)
    )
    torch.testing.assert_close(kept, 1 + forgotten)


def test_a_foreign_source_has_its_description_beside_it(tmp_path, twin, model, batch):
    path = tmp_path / "foreign.pt"
    torch.save(model.network.state_dict(), path)
    with pytest.raises(InputError, match=r"not a robusteval checkpoint: write arch = '...' to foreign.pt.toml beside"):
        Transfer(0.02, source=str(path))
    path.with_name("foreign.pt.toml").write_text(f"arch = {MLP!r}\n")
    found, expected = (drive(Transfer(0.02, source=source), model, batch, RANDOM) for source in (str(path), twin))
    assert torch.equal(found.inputs, expected.inputs)


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "there is no such file"), (b"nothing", "is truncated, damaged or no checkpoint")],
)
def test_what_is_no_checkpoint_is_answered_at_once(tmp_path, content, said):
    path = tmp_path / "other.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=f"source='{path}': .*{said}"):
        ATTACKS.parse(f"transfer(eps=0.1, source='{path}')")


@pytest.mark.parametrize(
    ("shape", "classes", "said"),
    [((1, 4, 4), 5, r"takes images of shape \(1, 4, 4\), the data have"), (SHAPE, 3, "has 3 classes, the data 5")],
)
def test_a_source_of_other_images_or_classes_is_answered_in_a_line(shape, classes, said, tmp_path, model, batch):
    source = stored(tmp_path / "other.safetensors", classifier(1, shape, classes), shape, classes)
    with pytest.raises(RobustevalError, match=said):
        drive(Transfer(0.1, source=source), model, batch, RANDOM)


def test_a_changed_source_is_another_attack(tmp_path, twin, model, batch):
    """Its digest says so, and the next run reads the file anew."""
    attack = Transfer(0.02, source=twin)
    first, found = attack.depends, drive(attack, model, batch, RANDOM)
    assert attack.depends == first != ATTACKS.parse("pgd(eps=0.1)").depends == ""
    stored(tmp_path / "twin.safetensors", classifier(1))
    assert attack.depends != first
    assert not torch.equal(drive(attack, model, batch, RANDOM).inputs, found.inputs)
    second = attack.depends
    Path(f"{twin}.toml").write_text("mean = [0.5]\n")
    assert attack.depends != second


@pytest.mark.parametrize("arguments", ["restarts=0", "decay=-1", "steps=0"])
def test_parameters_have_rules(arguments, twin):
    with pytest.raises(InputError, match=f"{arguments}.*: must be at least"):
        ATTACKS.parse(f"transfer(eps=0.1, {arguments}, source={twin!r})")
