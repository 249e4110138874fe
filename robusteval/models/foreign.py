"""Everybody else's checkpoints: state dicts in their usual wrappings, TorchScript archives, torch.export programs."""

import pickle
import struct
import tomllib
import warnings
import zipfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor, nn

from robusteval.core.errors import CheckpointError, InputError
from robusteval.models.checkpoint import SUFFIX, damaged, fill, read_tensors, unreadable

WRAPPERS = ("state_dict", "model", "model_state_dict", "net", "ema")
PREFIXES = ("module.", "_orig_mod.", "model.")
Kind = Literal["safetensors", "torchscript", "torch-export", "pickle"]

# What torch's readers raise on a file that ends too early or holds something else.
_DAMAGE = (RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError, AssertionError, struct.error)


SUFFIXES = (SUFFIX, ".pt", ".pth", ".th", ".ckpt", ".pt2")
"""How the files of checkpoints end."""


class Description(BaseModel):
    """What a foreign file does not say of itself; None where nobody said it.

    Attributes:
        arch: architecture spec.
        data: data spec.
        mean: of the pixels in [0, 1] that the network was trained with, per channel or one for all.
        std: likewise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    arch: str | None = None
    data: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def over(self, other: "Description") -> "Description":
        """What this one says, and where it is silent what `other` says."""
        return Description(**{**other.model_dump(exclude_none=True), **self.model_dump(exclude_none=True)})


def sidecar(path: Path) -> Path:
    """Where the description of a foreign file stands: its full name and `.toml`."""
    return path.with_name(f"{path.name}.toml")


def read_sidecar(path: Path) -> Description:
    """The description beside a foreign file; an empty one where there is none.

    Raises:
        CheckpointError: it cannot be read, is not TOML, or has a wrong key or value.
    """
    file = sidecar(path)
    try:
        return Description(**tomllib.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return Description()
    except OSError as error:
        raise unreadable(file, error) from None
    except ValidationError as error:
        fault = error.errors()[0]
        raise CheckpointError(f"{file}: key '{fault['loc'][0]}': {fault['msg']}; known are {_keys()}") from None
    except ValueError as error:
        raise CheckpointError(f"{file} is not TOML: {error}") from None


def kind(path: Path) -> Kind:
    """What a file is, by its content where that says it.

    Raises:
        CheckpointError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            names = zipfile.ZipFile(file).namelist() if zipfile.is_zipfile(file) else []
    except OSError as error:
        raise unreadable(path, error) from None
    except zipfile.BadZipFile:
        raise damaged(path) from None
    if path.suffix == SUFFIX:
        return "safetensors"
    if path.suffix == ".pt2" or any(name.endswith(("models/model.json", "exported_program.json")) for name in names):
        return "torch-export"
    return "torchscript" if any("/code/__torch__" in name for name in names) else "pickle"


def read(path: Path, trust_pickle: bool = False) -> nn.Module | dict[str, Tensor]:
    """A state dict without its wrapping, or a whole network where the file holds one.

    Raises:
        CheckpointError: the file is missing or damaged, holds no weights, or needs `trust_pickle`.
    """
    match kind(path):
        case "safetensors":
            return read_tensors(path)
        case "torchscript":
            return _torchscript(path)
        case "torch-export":
            return _exported(path, trust_pickle)
        case "pickle":
            return _unwrapped(path, _pickled(path, trust_pickle))


def fit(path: Path, network: nn.Module, state: Mapping[str, Tensor], architecture: str, channels: int) -> None:
    """Copy a foreign state dict into a network built for the data.

    Raises:
        CheckpointError: names or shapes do not fit, or the number of classes is not the data's.
        InputError: the number of channels is not the data's.
    """
    state = stripped(state, network.state_dict().keys())
    modules = list(network.named_modules())
    inputs = [f"{name}.weight" for name, module in modules if isinstance(module, nn.Conv2d)]
    outputs = [(f"{name}.weight", module.out_features) for name, module in modules if isinstance(module, nn.Linear)]
    for name in inputs[:1]:
        if name in state and state[name].ndim == 4 and state[name].shape[1] != channels:
            raise InputError(f"{path} takes images of {state[name].shape[1]} channels, the data have {channels}")
    for name, classes in outputs[-1:]:
        if name in state and state[name].ndim == 2 and len(state[name]) != classes:
            raise CheckpointError(f"{path}: the checkpoint has {len(state[name])} classes, the data {classes}")
    fill(network, state, f"{path} does not fit {architecture}")


def stripped(state: Mapping[str, Tensor], wanted: Collection[str]) -> dict[str, Tensor]:
    """Take prefixes that all keys share off until a key is one of the wanted.

    >>> list(stripped({"module.model.fc.bias": torch.zeros(1)}, {"fc.bias"}))
    ['fc.bias']
    """
    names = dict(state)
    while not any(name in wanted for name in names):
        prefix = next((prefix for prefix in PREFIXES if all(name.startswith(prefix) for name in names)), None)
        if prefix is None or not names:
            break
        names = {name.removeprefix(prefix): value for name, value in names.items()}
    return names


class Exported(nn.Module):
    """A torch.export program as a module: its mode was fixed when it was exported, so `train` and `eval` pass it by."""

    def __init__(self, program: nn.Module) -> None:
        super().__init__()
        self.program = program

    def train(self, mode: bool = True) -> "Exported":
        """Note the mode without telling the program, which would raise."""
        self.training = mode
        return self

    def forward(self, x: Tensor) -> Tensor:
        """What the program returns."""
        logits: Tensor = self.program(x)
        return logits


def _torchscript(path: Path) -> nn.Module:
    try:
        with warnings.catch_warnings():
            # Deprecated by torch, but still what many people have on disk.
            warnings.simplefilter("ignore")
            network: nn.Module = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
    except _DAMAGE:
        raise damaged(path) from None
    return network


def _exported(path: Path, trust_pickle: bool) -> nn.Module:
    if not zipfile.is_zipfile(path):
        raise damaged(path)
    if not trust_pickle:
        # torch.export.load unpickles constants without restriction and evaluates symbolic sizes as Python.
        raise _untrusted(path, "is a torch.export program, which torch reads by running code that is in it")
    try:
        return Exported(torch.export.load(path).module())
    except (*_DAMAGE, pickle.UnpicklingError, zipfile.BadZipFile):
        raise damaged(path) from None


def _pickled(path: Path, trust_pickle: bool) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the pickle's age: what matters is whether it loads
            return torch.load(path, map_location="cpu", weights_only=not trust_pickle)
    except pickle.UnpicklingError:
        if trust_pickle or not _is_pickle(path):
            raise damaged(path) from None
        raise _untrusted(path, "holds pickled code") from None
    except ImportError as error:
        raise CheckpointError(f"{path} needs code that is not installed: {error}") from None
    except AttributeError as error:
        raise CheckpointError(f"{path} needs code that cannot be found: {error}") from None
    except _DAMAGE:
        raise damaged(path) from None


def _untrusted(path: Path, what: str) -> CheckpointError:
    return CheckpointError(f"{path} {what}; if you trust its author, add --trust-pickle")


def _is_pickle(path: Path) -> bool:
    """Whether an intact archive or the mark of a pickle stands there, not a web page that was saved by mistake."""
    with path.open("rb") as file:
        return zipfile.is_zipfile(file) or (file.seek(0), file.read(1))[1] == pickle.PROTO


def _unwrapped(path: Path, content: Any) -> nn.Module | dict[str, Tensor]:
    found = next(_candidates(content), None)
    if found is not None:
        return found
    keys = ", ".join(map(str, list(content)[:5])) if isinstance(content, Mapping) else type(content).__name__
    raise CheckpointError(f"{path} holds no state dict: looked under {', '.join(WRAPPERS)}; it has {keys or 'nothing'}")


def _candidates(content: Any) -> Iterator[nn.Module | dict[str, Tensor]]:
    if isinstance(content, nn.Module):
        yield content
    if not isinstance(content, Mapping):
        return
    if content and all(isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()):
        yield dict(content)
    for key in WRAPPERS:
        yield from _candidates(content.get(key))


def _keys() -> str:
    return ", ".join(Description.model_fields)
