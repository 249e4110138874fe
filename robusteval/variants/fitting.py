"""What a variant may use to fit its parts before the first step, and the cache that keeps them."""

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import safetensors.torch
import torch
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from robusteval.core import files
from robusteval.core.errors import CheckpointError, InputError
from robusteval.core.world import agreed, world
from robusteval.data import Augmentation, Split

Tensors = dict[str, Tensor]
_KEY = "robusteval-part"


class Progress(Protocol):
    """Hears how far a fit has come: what is fitted, epochs done, epochs in all."""

    def __call__(self, part: str, done: int, total: int) -> None:
        """Called after every epoch."""


class Erm(Protocol):
    """Gives a network trained by the run's own recipe, without mixing, for a number of epochs."""

    @property
    def key(self) -> str:
        """What the network depends on besides the data, the seed and the epochs."""

    def __call__(self, epochs: int) -> nn.Module:
        """The `Classifier`, in eval mode on the run's device."""


def unheard(part: str, done: int, total: int) -> None:
    """Nobody listens."""


@dataclass(frozen=True)
class Fitting:
    """The training part and the means to fit on it.

    Attributes:
        train: the training part; what is held out for validation is not in it.
        seed: of the training.
        erm: an ERM network by the same recipe, itself a fitted part.
        augmentation: of the training images; none where the recipe has none.
        device: where to fit.
        cache: the folder of fitted parts; None keeps nothing.
        progress: hears how far a fit has come.
    """

    train: Split
    seed: int
    erm: Erm
    augmentation: Augmentation
    device: str = "cpu"
    cache: Path | None = None
    progress: Progress = unheard

    def part(self, name: str, settings: Sequence[object], fit: Callable[[], Tensors]) -> Tensors:
        """Fitted tensors, on the CPU: those of the cache where the key matches, else fitted now and stored.

        Only one process at a time fits a part on a machine. The processes of one training all fit, and all take what
        the first one has.

        Args:
            name: of the part, as in `mmd-vae`.
            settings: what the part depends on besides the training part, the seed, the kind of device and the number
                of processes, by its `repr`.
            fit: makes the tensors.

        Raises:
            InputError: the cache cannot be written; said before anything is fitted.
        """
        kind = torch.device(self.device).type
        key = repr((name, *settings, self.train.digest, self.seed, kind, world().size))
        digest = hashlib.sha256(key.encode()).hexdigest()[:16]
        path = self.cache and self.cache / f"{name}-{digest}.safetensors"
        if path is None:
            return agreed(_settled(fit()))
        stored = _stored(path, key)
        if agreed(stored is not None):
            return agreed(stored or {})
        files.check_writable("cache", path.parent)
        if world().rank > 0:
            return self._joint(path, key, fit)
        with FileLock(Path(tempfile.gettempdir()) / f"robusteval-{digest}.lock"):
            return self._joint(path, key, fit)

    def _joint(self, path: Path, key: str, fit: Callable[[], Tensors]) -> Tensors:
        """What another process has fitted by now, or a fit."""
        stored = agreed(_stored(path, key))
        if stored is not None:
            return stored
        tensors = agreed(_settled(fit()))
        if world().rank == 0:
            payload = safetensors.torch.save(tensors, {_KEY: key})
            files.write(path, lambda file: file.write(payload), InputError, "; name another folder with --cache")
        return tensors


def _settled(tensors: Tensors) -> Tensors:
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def _stored(path: Path, key: str) -> Tensors | None:
    """The tensors of a part fitted before; None where there are none, or not these."""
    try:
        with safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get(_KEY) == key:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except FileNotFoundError:
        return None
    except SafetensorError:
        return None  # cut off or overwritten: fitted again, and written whole
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from None
    return None
