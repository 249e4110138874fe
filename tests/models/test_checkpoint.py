import json
import struct

import pytest
import torch

from robusteval.core.errors import CheckpointError
from robusteval.models import ARCHITECTURES
from robusteval.models.checkpoint import Card, load, read_card, save
from robusteval.models.classifier import Classifier

SHAPE = (1, 8, 8)
CARD = Card(
    architecture="small-cnn",
    classes=("a", "b", "c"),
    shape=SHAPE,
    mean=(0.3,),
    std=(0.7,),
    data="digits",
    recipe={"epochs": 2, "lr": 0.1},
    variant="mixup(alpha=0.2)",
    seed=3,
    temperature=1.25,
    validation={"accuracy": 0.9, "nll": float("inf")},
)


@pytest.fixture
def model():
    return Classifier(ARCHITECTURES.parse("small-cnn").initialised(SHAPE, 3), CARD.mean, CARD.std).eval()


@pytest.fixture
def path(tmp_path, model):
    save(tmp_path / "new" / "a.safetensors", model, CARD)
    return tmp_path / "new" / "a.safetensors"


def with_header(path, change):
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    card = json.loads(header["__metadata__"]["robusteval"])
    header["__metadata__"]["robusteval"] = json.dumps(change(card))
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])


def test_what_is_saved_is_loaded(path, model):
    loaded = load(path)
    assert loaded.card == CARD == read_card(path)
    assert not loaded.model.training
    assert path.stat().st_size < 400_000
    x = torch.rand(4, *SHAPE)
    assert torch.equal(loaded.model(x), model(x))


def test_equal_models_give_equal_bytes_and_leave_nothing_else(path, model):
    before = path.read_bytes()
    save(path, model, CARD)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["a.safetensors"]


def test_the_digest_is_of_weights_and_normalisation(tmp_path, path, model):
    digest = load(path).digest
    save(tmp_path / "b.safetensors", model, CARD.model_copy(update={"seed": 4}))
    assert load(tmp_path / "b.safetensors").digest == digest
    other = Classifier(model.network, (0.31,), CARD.std)
    save(tmp_path / "c.safetensors", other, CARD.model_copy(update={"mean": (0.31,)}))
    assert load(tmp_path / "c.safetensors").digest != digest
    with torch.no_grad():
        next(model.parameters()).add_(1e-3)
    save(tmp_path / "d.safetensors", model, CARD)
    assert load(tmp_path / "d.safetensors").digest != digest


def test_loading_leaves_the_global_generator_alone(path):
    before = torch.random.get_rng_state()
    load(path)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_card_that_contradicts_the_model_is_a_bug(tmp_path, model):
    with pytest.raises(ValueError, match="mean"):
        save(tmp_path / "a.safetensors", model, CARD.model_copy(update={"mean": (0.1,)}))


@pytest.mark.parametrize("content", [b"", b"<html>", b"PK\x03\x04" + bytes(60), bytes(64)])
def test_other_files_have_no_card(tmp_path, content):
    (tmp_path / "a.pt").write_bytes(content)
    assert read_card(tmp_path / "a.pt") is None
    with pytest.raises(CheckpointError, match="not a robusteval checkpoint"):
        load(tmp_path / "a.pt")


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(CheckpointError, match=r"a\.safetensors cannot be read: No such file"):
        read_card(tmp_path / "a.safetensors")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_said(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError, match="truncated"):
        load(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda card: {**card, "format": 7}, "has checkpoint format 7, this robusteval reads format 1"),
        (lambda card: {**card, "colour": "red"}, "damaged card at 'colour'"),
        (lambda card: {key: value for key, value in card.items() if key != "classes"}, "damaged card at 'classes'"),
        (lambda card: [1], "damaged card"),
        (
            lambda card: {**card, "classes": ["a", "b"]},
            r"does not fit small-cnn: 'classify.1.weight' has shape \(3, 64\)",
        ),
        (lambda card: {**card, "architecture": "resnet-cifar"}, "missing 'conv1.weight' and .* more, unexpected"),
    ],
)
def test_a_wrong_card_is_said(path, change, said):
    with_header(path, change)
    with pytest.raises(CheckpointError, match=said) as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_weights_that_are_not_numbers_are_refused(tmp_path, model):
    with torch.no_grad():
        model.network.classify[1].bias[0] = float("nan")
    save(tmp_path / "a.safetensors", model, CARD)
    with pytest.raises(CheckpointError, match=r"'classify\.1\.bias' holds NaN"):
        load(tmp_path / "a.safetensors")


def test_a_place_that_cannot_be_written_is_said(tmp_path, model):
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="cannot be written"):
        save(tmp_path / "file" / "a.safetensors", model, CARD)
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(CheckpointError, match="cannot be written"):
        save(tmp_path / "folder.safetensors", model, CARD)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "folder.safetensors"]
