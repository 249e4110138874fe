"""The own checkpoint format: weights as safetensors, with a JSON card in the header that says what they are."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from torch import Tensor, nn

from robusteval.core import files
from robusteval.core.errors import CheckpointError
from robusteval.models import ARCHITECTURES
from robusteval.models.classifier import Classifier

FORMAT = 1
SUFFIX = ".safetensors"
_KEY = "robusteval"


class Card(BaseModel):
    """What a checkpoint is, apart from its weights.

    Attributes:
        format: version of this format.
        architecture: architecture spec.
        classes: class names in the order of the logits.
        shape: channels, height and width of the images.
        mean: of the pixels in [0, 1], per channel or one for all.
        std: likewise.
        data: data spec the model was trained on.
        data_digest: digest of the training split.
        recipe: training recipe as keys and values.
        variant: training variant spec.
        seed: training seed.
        temperature: fitted on the validation part.
        validation: metric values on the validation part.
        processes: that shared its batches.
        code: version of the code that trained it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    format: int = FORMAT
    architecture: str
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    data: str | None = None
    data_digest: str | None = None
    recipe: dict[str, Any] | None = None
    variant: str | None = None
    seed: int | None = None
    temperature: float | None = None
    validation: dict[str, float] | None = None
    processes: int = 1
    code: str | None = None


@dataclass(frozen=True)
class Loaded:
    """A model ready to be measured: float32, in eval mode, on the CPU; its card; the digest of its weights."""

    model: nn.Module
    card: Card
    digest: str


def save(path: Path, model: Classifier, card: Card) -> None:
    """Write the weights and the card: equal input gives equal bytes, and no reader ever sees half a file.

    Raises:
        CheckpointError: the file cannot be written.
    """
    for name, said in (("mean", card.mean), ("std", card.std)):
        if not torch.equal(torch.tensor(said, dtype=torch.float32), model.get_buffer(name).flatten().cpu()):
            raise ValueError(f"the card's {name} is not the model's")
    # Clones, because safetensors refuses tensors that share memory, as tied weights do.
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in model.network.state_dict().items()}
    payload = safetensors.torch.save(tensors, {_KEY: card.model_dump_json()})
    files.write(path, lambda file: file.write(payload), CheckpointError)


def read_card(path: Path) -> Card | None:
    """The card of an own checkpoint, from its header alone; None for anybody else's file.

    Raises:
        CheckpointError: the file is missing or damaged, or of another format version.
    """
    header = _header(path)
    if header is None and path.suffix == SUFFIX:
        raise damaged(path)
    text = (header or {}).get("__metadata__", {}).get(_KEY)
    return None if text is None else _card(path, text)


def load(path: Path) -> Loaded:
    """Read an own checkpoint.

    Raises:
        CheckpointError: it is missing, damaged, not of this format, or its weights do not fit its architecture.
    """
    card = read_card(path)
    if card is None:
        raise CheckpointError(f"{path} is not a robusteval checkpoint")
    return assemble(path, read_tensors(path), card)


def assemble(path: Path, state: Mapping[str, Tensor], card: Card) -> Loaded:
    """The model that a card describes, with the given weights in it."""
    network = ARCHITECTURES.parse(card.architecture).initialised(card.shape, len(card.classes))
    fill(network, state, f"{path} does not fit {card.architecture}")
    model = Classifier(network, card.mean, card.std).float().eval()
    return Loaded(model, card, digest(model))


def fill(network: nn.Module, state: Mapping[str, Tensor], complaint: str) -> None:
    """Copy weights into a network; batch counters of batch normalisation may be missing.

    Raises:
        CheckpointError: a name is missing, unexpected or of another shape, or a weight is not finite.
    """
    wanted = {name: value for name, value in network.state_dict().items() if isinstance(value, Tensor)}
    faults = [
        _fault("missing", [name for name in wanted if name not in state and not name.endswith("num_batches_tracked")]),
        _fault("unexpected", [name for name in state if name not in wanted]),
        *(
            f"'{name}' has shape {tuple(state[name].shape)}, not {tuple(value.shape)}"
            for name, value in wanted.items()
            if name in state and state[name].shape != value.shape
        ),
    ]
    said = [fault for fault in faults if fault]
    if said:
        raise CheckpointError(f"{complaint}: {', '.join(said[:3])}")
    for name, value in state.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise CheckpointError(f"{complaint}: '{name}' holds NaN or infinite weights")
    network.load_state_dict(dict(state), strict=False)


def digest(model: Classifier) -> str:
    """The sha256, in hex, of a model's weights and normalisation: names, types, shapes and bytes, sorted by name."""
    tensors = {**model.network.state_dict(), "mean": model.mean, "std": model.std}
    result = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        result.update(repr((name, str(value.dtype), tuple(value.shape))).encode())
        result.update(value.flatten().view(torch.uint8).numpy().data)
    return result.hexdigest()


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    try:
        return safetensors.torch.load_file(path)
    except OSError as error:
        raise unreadable(path, error) from None
    except SafetensorError:
        raise damaged(path) from None


def damaged(path: Path) -> CheckpointError:
    """The error for a file that ends too early or is not what its suffix says."""
    return CheckpointError(f"{path} is truncated, damaged or no checkpoint: download or copy it again")


def unreadable(path: Path, error: OSError) -> CheckpointError:
    """The error for a file that the system does not hand over."""
    return CheckpointError(f"{path} cannot be read: {error.strerror or error}")


def _header(path: Path) -> dict[str, Any] | None:
    """The JSON header of a safetensors file: 8 bytes of length, then the text; None for any other file."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            text = file.read(length) if length < path.stat().st_size else b""
    except OSError as error:
        raise unreadable(path, error) from None
    try:
        header = json.loads(text)
    except ValueError:
        return None
    return header if isinstance(header, dict) else None


def _card(path: Path, text: str) -> Card:
    try:
        values = json.loads(text)
        version = values["format"]
        if version != FORMAT:
            raise CheckpointError(f"{path} has checkpoint format {version}, this robusteval reads format {FORMAT}")
        return Card.model_validate_json(text)
    except (ValueError, TypeError, KeyError) as error:
        where = f" at '{error.errors()[0]['loc'][0]}'" if isinstance(error, ValidationError) else ""
        raise CheckpointError(f"{path} has a damaged card{where}") from None


def _fault(word: str, names: list[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{word} '{names[0]}'{more}" if names else ""
