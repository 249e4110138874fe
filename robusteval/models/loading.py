"""One front for every checkpoint, own or foreign: what it says of itself, then the model, checked against the data."""

import hashlib
from pathlib import Path

import torch
from torch import Tensor, nn

from robusteval.core.errors import CheckpointError, InputError, require
from robusteval.models import ARCHITECTURES, checkpoint, foreign
from robusteval.models.checkpoint import Card, Loaded
from robusteval.models.classifier import Classifier
from robusteval.models.foreign import Description

Shape = tuple[int, int, int]

_SELF_CONTAINED = ("torchscript", "torch-export")


def describe(path: Path, given: Description, trust_pickle: bool = False) -> Description:
    """All that is known of a checkpoint before it is loaded: flags win over the sidecar.

    An own checkpoint knows its architecture and normalisation; only the data may be others than those of its card.

    Raises:
        CheckpointError: the file cannot be read, or nobody names its data or, where it needs one, its architecture.
    """
    card = checkpoint.read_card(path)
    if card is not None:
        for name, value in (("arch", given.arch), ("mean", given.mean), ("std", given.std)):
            require(value is None, name, f"{path} says its own: leave it out", value)
        if (data := given.data or card.data) is None:
            raise CheckpointError(f"{path} does not say which data it was trained on: name them with --data")
        return Description(arch=card.architecture, data=data, mean=card.mean, std=card.std)
    known = given.over(foreign.read_sidecar(path))
    whole = trust_pickle or foreign.kind(path) in _SELF_CONTAINED
    if known.data is None or (known.arch is None and not whole):
        asked, flags = ("data", "--data") if whole else ("architecture and data", "--arch and --data")
        remedy = f"name its {asked} with {flags}, or write them to {foreign.sidecar(path).name}"
        raise CheckpointError(f"{path} is not a robusteval checkpoint: {remedy}")
    return known


def load(
    path: Path, description: Description, shape: Shape, classes: tuple[str, ...], trust_pickle: bool = False
) -> Loaded:
    """The model of a checkpoint, which takes the data's images and answers with the data's classes.

    Args:
        path: of any checkpoint.
        description: from `describe`.
        shape: of the data's images.
        classes: of the data.
        trust_pickle: run code that the file holds.

    Raises:
        CheckpointError: the file is missing or damaged, or its weights do not fit the architecture or the classes.
        InputError: the model does not take images of that shape.
    """
    if checkpoint.read_card(path) is not None:
        loaded = checkpoint.load(path)
        _same_data(path, loaded.card, shape, classes)
    else:
        loaded = _foreign(path, description, shape, classes, trust_pickle)
    _runs(path, loaded, shape, len(classes))
    return loaded


def _foreign(
    path: Path, description: Description, shape: Shape, classes: tuple[str, ...], trust_pickle: bool
) -> Loaded:
    mean, std = description.mean or (0.0,), description.std or (1.0,)
    for name, values in (("mean", mean), ("std", std)):
        require(len(values) in (1, shape[0]), name, f"must have 1 or {shape[0]} values, one per channel", values)
    require(all(value > 0 for value in std), "std", "must be above 0", std)
    found = foreign.read(path, trust_pickle)
    whole = isinstance(found, nn.Module) and (description.arch is None or foreign.kind(path) in _SELF_CONTAINED)
    if isinstance(found, nn.Module) and whole:
        network, architecture = found, str(foreign.kind(path))
    else:
        network, architecture = _filled(path, found, description.arch, shape, len(classes))
    model = Classifier(network, mean, std).float().eval()
    card = Card(architecture=architecture, classes=classes, shape=shape, mean=mean, std=std, data=description.data)
    digest = checkpoint.digest(model)
    return Loaded(model, card, _with_file(path, digest) if whole else digest)


def _filled(
    path: Path, found: nn.Module | dict[str, Tensor], arch: str | None, shape: Shape, classes: int
) -> tuple[nn.Module, str]:
    if arch is None:
        raise CheckpointError(f"{path} holds weights alone: name its architecture with --arch")
    architecture = ARCHITECTURES.parse(arch)
    network = architecture.initialised(shape, classes)
    state = found.state_dict() if isinstance(found, nn.Module) else found
    foreign.fit(path, network, state, architecture.spec, shape[0])
    return network, architecture.spec


def _with_file(path: Path, digest: str) -> str:
    """The digest of weights and file together: where the file holds the network's code, that counts too."""
    with path.open("rb") as file:
        return hashlib.sha256((digest + hashlib.file_digest(file, "sha256").hexdigest()).encode()).hexdigest()


def _same_data(path: Path, card: Card, shape: Shape, classes: tuple[str, ...]) -> None:
    if card.shape != shape:
        raise InputError(f"{path} takes images of shape {card.shape}, the data have {shape}")
    if len(card.classes) != len(classes):
        raise _other_classes(path, len(card.classes), len(classes))
    if card.classes != classes and set(card.classes) == set(classes):
        raise CheckpointError(f"{path}: the checkpoint has the data's classes in another order: {card.classes}")


def _runs(path: Path, loaded: Loaded, shape: Shape, classes: int) -> None:
    """Try two sizes of batch, because a torch.export program may be made for one alone."""
    first = _answer(path, loaded.model, (2, *shape))
    if not isinstance(first, Tensor) or first.ndim != 2 or len(first) != 2:
        what = tuple(first.shape) if isinstance(first, Tensor) else type(first).__name__
        raise CheckpointError(f"{path} is no classifier: it answers 2 images with {what}, not (2, classes)")
    if first.shape[1] != classes:
        raise _other_classes(path, first.shape[1], classes)
    try:
        _answer(path, loaded.model, (3, *shape))
    except InputError:
        raise InputError(f"{path} takes batches of 2 images alone: export it with a dynamic batch size") from None


def _answer(path: Path, model: nn.Module, shape: tuple[int, ...]) -> object:
    try:
        with torch.no_grad():
            return model(torch.zeros(shape))
    except (RuntimeError, ValueError, AssertionError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
        raise InputError(f"{path} does not take {shape[0]} images of shape {shape[1:]}: {reason}") from None


def _other_classes(path: Path, own: int, data: int) -> CheckpointError:
    return CheckpointError(f"{path}: the checkpoint has {own} classes, the data {data}")
