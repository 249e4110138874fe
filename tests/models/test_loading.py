import numpy as np
import pytest
import torch
from torch import nn

from robusteval.core.errors import CheckpointError, InputError, SpecError
from robusteval.models import ARCHITECTURES, checkpoint
from robusteval.models.checkpoint import Card
from robusteval.models.classifier import Classifier
from robusteval.models.foreign import Description
from robusteval.models.loading import describe, load

SHAPE, CLASSES = (3, 16, 16), ("a", "b", "c")
CARD = Card(architecture="small-cnn", classes=CLASSES, shape=SHAPE, data="cifar10")
GIVEN = Description(arch="small-cnn", data="cifar10")
X = torch.rand(5, *SHAPE, generator=torch.Generator().manual_seed(0))


class Wrong(nn.Module):
    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, x):
        return self.answer(x)


def images(x):
    return x


def nothing(x):
    return None


@pytest.fixture
def network():
    return ARCHITECTURES.parse("small-cnn").initialised(SHAPE, 3).eval()


@pytest.fixture
def own(tmp_path, network):
    checkpoint.save(tmp_path / "own.safetensors", Classifier(network), CARD)
    return tmp_path / "own.safetensors"


@pytest.fixture
def weights(tmp_path, network):
    torch.save(network.state_dict(), tmp_path / "a.pt")
    return tmp_path / "a.pt"


@pytest.mark.parametrize(("depth", "name", "correct"), [(20, "resnet20-12fca82f", 182), (32, "resnet32-d509ac18", 185)])
def test_a_strangers_checkpoint_scores_what_it_should(shared_data, depth, name, correct):
    path = shared_data / "checkpoints" / f"{name}.th"
    given = Description(
        arch=f"resnet-cifar(depth={depth})", data="cifar10", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
    )
    loaded = load(path, describe(path, given), (3, 32, 32), tuple("0123456789"))
    with np.load(shared_data / "cifar10-slice.npz") as arrays:
        pixels, labels = arrays["test_images"][:200], torch.from_numpy(arrays["test_labels"][:200])
    with torch.no_grad():
        logits = loaded.model(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255)
    assert int((logits.argmax(1) == labels).sum()) == correct


def test_an_own_checkpoint_describes_itself(own, network):
    description = describe(own, Description())
    assert (description.arch, description.data) == ("small-cnn", "cifar10")
    loaded = load(own, description, SHAPE, CLASSES)
    assert loaded.card == CARD
    assert torch.equal(loaded.model(X), network(X))
    assert describe(own, Description(data="svhn")).data == "svhn"


def test_an_own_checkpoint_without_data_asks_for_them(tmp_path, network):
    checkpoint.save(tmp_path / "a.safetensors", Classifier(network), CARD.model_copy(update={"data": None}))
    with pytest.raises(CheckpointError, match="does not say which data it was trained on: name them with --data"):
        describe(tmp_path / "a.safetensors", Description())


def test_a_sidecar_replaces_flags(weights, network):
    weights.with_name("a.pt.toml").write_text('arch = "small-cnn"\ndata = "cifar10"\nstd = [0.5, 0.5, 0.5]\n')
    loaded = load(weights, describe(weights, Description()), SHAPE, CLASSES)
    assert loaded.card == Card(architecture="small-cnn", classes=CLASSES, shape=SHAPE, std=(0.5,) * 3, data="cifar10")
    assert not loaded.model.training
    torch.testing.assert_close(loaded.model(X), network(X / 0.5))


def test_own_and_foreign_weights_have_one_digest(own, weights):
    assert load(own, GIVEN, SHAPE, CLASSES).digest == load(weights, GIVEN, SHAPE, CLASSES).digest


@pytest.mark.parametrize("given", [Description(), Description(arch="small-cnn"), Description(data="cifar10")])
def test_a_foreign_file_asks_for_architecture_and_data(weights, given):
    said = (
        "a.pt is not a robusteval checkpoint: name its architecture and data with --arch and --data, or write them to"
    )
    with pytest.raises(CheckpointError, match=said):
        describe(weights, given)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_torchscript_needs_data_alone(tmp_path, network):
    path = tmp_path / "a.pt"
    torch.jit.save(torch.jit.trace(network, X), path)
    with pytest.raises(CheckpointError, match="name its data with --data, or write them to"):
        describe(path, Description())
    loaded = load(path, describe(path, Description(data="cifar10")), SHAPE, CLASSES)
    assert loaded.card.architecture == "torchscript"
    torch.testing.assert_close(loaded.model(X), network(X))
    with pytest.raises(InputError, match=r"does not take 2 images of shape \(1, 16, 16\)"):
        load(path, GIVEN, (1, 16, 16), CLASSES)
    with pytest.raises(CheckpointError, match="the checkpoint has 3 classes, the data 2"):
        load(path, GIVEN, SHAPE, ("a", "b"))


@pytest.mark.parametrize("name", ["a.pt2", "a.pt"])
def test_export_needs_data_and_trust(tmp_path, network, name):
    path = tmp_path / name
    dynamic = ({0: torch.export.Dim("batch")},)
    with path.open("wb") as file:
        torch.export.save(torch.export.export(network, (X,), dynamic_shapes=dynamic), file)
    description = describe(path, Description(data="cifar10"))
    with pytest.raises(CheckpointError, match=r"torch.export program.*add --trust-pickle"):
        load(path, description, SHAPE, CLASSES)
    loaded = load(path, description, SHAPE, CLASSES, trust_pickle=True)
    assert loaded.card.architecture == "torch-export"
    torch.testing.assert_close(loaded.model.train().eval()(X), network(X))
    with pytest.raises(InputError, match=r"does not take 2 images of shape \(3, 8, 8\)"):
        load(path, description, (3, 8, 8), CLASSES, trust_pickle=True)


def test_a_program_for_one_batch_size_is_said(tmp_path, network):
    path = tmp_path / "a.pt2"
    torch.export.save(torch.export.export(network, (X[:2],)), path)
    with pytest.raises(InputError, match="takes batches of 2 images alone: export it with a dynamic batch size"):
        load(path, GIVEN, SHAPE, CLASSES, trust_pickle=True)


def test_a_pickled_network_needs_no_architecture_but_takes_one(tmp_path, network):
    path = tmp_path / "a.pt"
    torch.save(network, path)
    description = describe(path, Description(data="cifar10"), trust_pickle=True)
    loaded = load(path, description, SHAPE, CLASSES, trust_pickle=True)
    assert loaded.card.architecture == "pickle"
    assert load(path, GIVEN, SHAPE, CLASSES, trust_pickle=True).card.architecture == "small-cnn"
    assert torch.equal(loaded.model(X), network(X))


def test_weights_that_turn_out_alone_ask_for_an_architecture(weights):
    description = describe(weights, Description(data="cifar10"), trust_pickle=True)
    with pytest.raises(CheckpointError, match="holds weights alone: name its architecture with --arch"):
        load(weights, description, SHAPE, CLASSES, trust_pickle=True)


@pytest.mark.parametrize(
    ("shape", "classes", "error", "said"),
    [
        ((3, 32, 32), CLASSES, InputError, r"images of shape \(3, 16, 16\), the data have \(3, 32, 32\)"),
        (SHAPE, ("a", "b"), CheckpointError, "the checkpoint has 3 classes, the data 2"),
        (SHAPE, ("a", "c", "b"), CheckpointError, "the data's classes in another order"),
    ],
)
def test_an_own_checkpoint_must_match_the_data(own, shape, classes, error, said):
    with pytest.raises(error, match=said):
        load(own, GIVEN, shape, classes)


def test_other_names_for_as_many_classes_are_fine(own):
    assert load(own, GIVEN, SHAPE, ("x", "y", "z")).card.classes == CLASSES


@pytest.mark.parametrize(
    ("changes", "shape", "classes", "error", "said"),
    [
        ({}, (1, 16, 16), CLASSES, InputError, "takes images of 3 channels, the data have 1"),
        ({}, SHAPE, ("a",) * 100, CheckpointError, "the checkpoint has 3 classes, the data 100"),
        ({"arch": "preact-resnet"}, SHAPE, CLASSES, CheckpointError, "a.pt does not fit preact-resnet: missing"),
        ({"arch": "small-cmn"}, SHAPE, CLASSES, SpecError, "did you mean 'small-cnn'"),
        ({"mean": (0.1, 0.2)}, SHAPE, CLASSES, InputError, "mean=.*: must have 1 or 3 values"),
        ({"std": (0.0,)}, SHAPE, CLASSES, InputError, "std=.*: must be above 0"),
    ],
)
def test_a_foreign_checkpoint_must_fit(weights, changes, shape, classes, error, said):
    with pytest.raises(error, match=said):
        load(weights, GIVEN.model_copy(update=changes), shape, classes)


@pytest.mark.parametrize(("answer", "said"), [(images, r"with \(2, 3, 16, 16\)"), (nothing, "with NoneType")])
def test_a_network_that_is_no_classifier_is_said(tmp_path, answer, said):
    torch.save(Wrong(answer), tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=f"is no classifier: it answers 2 images {said}"):
        load(tmp_path / "a.pt", Description(data="cifar10"), SHAPE, CLASSES, trust_pickle=True)


@pytest.mark.parametrize("given", [{"arch": "small-cnn"}, {"mean": (0.5,)}, {"std": (0.5,)}])
def test_what_an_own_checkpoint_says_of_itself_is_not_said_again(own, given):
    with pytest.raises(InputError, match="says its own: leave it out"):
        describe(own, Description(**given))
