"""The Python front: evaluate a model, attack a batch."""

import copy
import hashlib
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from robusteval.attacks import ATTACKS, AttackOutcome, Passes, drive
from robusteval.core.errors import InputError, RecordError, require
from robusteval.core.precision import Precision, full_float32
from robusteval.core.rng import Stream
from robusteval.core.spec import split as listed
from robusteval.core.types import Batch
from robusteval.data import DATA, DataSet, Split
from robusteval.data.memory import from_loader, from_pair
from robusteval.engine import suite as suites
from robusteval.engine.plan import Settings, resolved
from robusteval.engine.recalibration import DEFAULT
from robusteval.engine.run import Run
from robusteval.engine.serial import Serial
from robusteval.engine.sources import DataSource, ModelSource
from robusteval.engine.suite import Samples, Suite
from robusteval.engine.worker import ready
from robusteval.models.checkpoint import Card, Loaded, read_card
from robusteval.models.foreign import Description
from robusteval.models.loading import describe
from robusteval.results.report import Report
from robusteval.results.store import ImageFiles

Model = nn.Module | Callable[[Tensor], Tensor]
Pair = tuple[Tensor, Tensor] | DataLoader[tuple[Tensor, Tensor]]
Data = str | DataSet | Pair


def evaluate(
    model: Model | str | Path,
    data: Data | None = None,
    suite: str | Suite = "quick",
    *,
    samples: Samples | None = None,
    seed: int = 0,
    device: str = "cpu",
    threads: int = 1,
    batch_size: int | None = None,
    arch: str | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    trust_pickle: bool = False,
    keep_logits: bool = False,
    calibrate_on: str | Pair | None = None,
    recalibrate: str | Sequence[str] = DEFAULT,
    compile: bool = False,
    gradients: Precision = "float32",
    save_adversarial: ImageFiles | None = None,
    official: str | Path | None = None,
    out: str | Path | None = None,
) -> Report:
    """Measure a model with a suite, in this process.

    Args:
        model: a checkpoint's path, or any module or differentiable function from images [n, c, h, w] in [0, 1] to
            logits [n, k]. A module is copied, and the copy put in eval mode; yours stays as it is. A function is used
            as it is: put what it calls in eval mode first.
        data: a data spec such as `"fashion-mnist"`, a pair of images and labels, or a DataLoader that does not
            shuffle; by default what the checkpoint's card names.
        suite: a suite by name or path, or a `Suite`.
        samples: how many samples, from the first on, or `"all"`; by default what the suite says.
        seed: of every random number.
        device: `"cpu"`, `"cuda"`, or `"auto"`.
        threads: torch threads; another number may round differently.
        batch_size: rows of a pass at most.
        arch: architecture spec of a foreign checkpoint.
        mean: per channel, which a foreign checkpoint was trained with.
        std: likewise.
        trust_pickle: run code that the checkpoint's file holds.
        keep_logits: store logits of more than 100 classes.
        calibrate_on: what recalibrators are fitted on: `"train"`; `"validation"`, the part of it that the checkpoint's
            training held out; or a pair of images and labels, or a DataLoader, that is not the evaluated one. By
            default each half of a view's samples is scaled by what was fitted on the other.
        recalibrate: recalibrators whose ECE and NLL stand beside those without: specs in a list, or between commas.
        compile: have torch compile what is differentiated, which takes a minute per model.
        gradients: precision of what is differentiated: `"float32"`, `"bf16"`, or `"tf32"` on CUDA.
        save_adversarial: `"npz"` or `"png"` keeps every attacked image, with the accuracy after rounding to 8 bits.
        official: folder of a stored set such as CIFAR-10-C, which the suite's corrupted views are then read from.
        out: report folder; by default nothing is left on disk. What it holds of a checkpoint is not computed again;
            for a model in memory it must be a new one.

    Raises:
        RobustevalError: the model, the data or an option cannot be used.
    """
    chosen = suite if isinstance(suite, Suite) else suites.load(str(suite))
    chosen = chosen if official is None else chosen.stored()
    if calibrate_on is not None:
        chosen = chosen.calibrated(calibrate_on if isinstance(calibrate_on, str) else "memory")
    settings = Settings(seed, resolved(device), threads, batch_size, keep_logits, compile, gradients, save_adversarial)
    if isinstance(model, str | Path):
        given = Description(arch=arch, data=_spec(data), mean=mean, std=std)
        described = describe(Path(model), given, trust_pickle)
        card = read_card(Path(model))
        where = _widened(_data_source(described.data if data is None else data), card.classes if card else ())
        source = ModelSource(Path(model).stem, where, Path(model), described, trust_pickle)
    else:
        _only_for_paths(arch=arch, mean=mean, std=std)
        if data is None:
            raise InputError("data=None: a model in memory needs data: a spec, a pair of tensors or a DataLoader")
        if out is not None and (Path(out) / "run.json").exists():
            raise RecordError(
                f"out={str(out)!r}: holds a report, and a model in memory cannot be known again: name another"
            )
        source = _in_memory(model, _data_source(data))
    source = source.with_stored(None if official is None else Path(official))
    if calibrate_on is not None and not isinstance(calibrate_on, str):
        source = replace(source, data=_with_other(source.data, calibrate_on))
    recalibrators = listed(recalibrate) if isinstance(recalibrate, str) else tuple(recalibrate)
    run = Run(chosen, [source], settings, Serial(), samples, recalibrators)
    with tempfile.TemporaryDirectory(prefix="robusteval-") as scratch:
        folder = Path(scratch) / "report" if out is None else Path(out)
        run.into(folder, lambda line: warnings.warn(line, RuntimeWarning, stacklevel=5))
        return Report.read(folder)


@full_float32()
def attack(
    model: Model,
    x: Tensor,
    y: Tensor,
    spec: str,
    *,
    seed: int = 0,
    ids: Tensor | None = None,
    batch_size: int = Passes().batch_size,
    compile: bool = False,
    gradients: Precision = "float32",
) -> AttackOutcome:
    """Attack a batch and judge the result by the original model.

    Args:
        model: images in [0, 1] to logits; a module is copied, and the copy put in eval mode.
        x: images [n, c, h, w], floats in [0, 1] or uint8.
        y: labels [n].
        spec: such as `"pgd(eps=8/255, steps=20)"`.
        seed: of every random number.
        ids: sample ids [n], which random numbers go by; the positions by default.
        batch_size: rows of a pass at most.
        compile: have torch compile what is differentiated, which takes a minute first.
        gradients: precision of what is differentiated: `"float32"`, `"bf16"`, or `"tf32"` on CUDA.

    Raises:
        RobustevalError: the spec, the images or the labels break a rule.
    """
    device = x.device if isinstance(x, Tensor) else torch.device("cpu")
    Settings(device=device.type, batch_size=batch_size, compile=compile, gradients=gradients)  # whose rules they are
    split, found = from_pair(x, y, ids=ids), ATTACKS.parse(spec)
    judge = _module(model).to(device)
    batch = Batch(*(tensor.to(device) for tensor in split.batch()))
    _answer(judge, batch.x[:8], split)
    _, form, passes = ready(judge, batch.x[:32], batch_size, compile, gradients)
    return drive(found, form, batch, Stream.seeded(seed), judge, passes)


class Function(nn.Module):
    """A plain function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """What the function gives."""
        return self.function(x)


def _module(model: Model) -> nn.Module:
    if isinstance(model, nn.Module):
        return copy.deepcopy(model).float().eval()
    require(callable(model), "model", "must be a path, a module or a function", type(model).__name__)
    return Function(model).eval()


def _name(model: Model) -> str:
    return type(model).__name__ if isinstance(model, nn.Module) else getattr(model, "__name__", type(model).__name__)


def _in_memory(model: Model, where: DataSource) -> ModelSource:
    """The model, checked against the data, with a card and a digest of its weights and first answers."""
    module, name = _module(model).cpu(), _name(model)
    split = where.load()
    logits = _answer(module, split.batch(slice(0, 64)).x, split)
    where = _widened(where, tuple(str(label) for label in range(logits.shape[1])))
    classes = where.load().classes
    require(len(classes) == logits.shape[1], "model", f"must have the data's {len(classes)} classes", logits.shape[1])
    digest = hashlib.sha256(name.encode())
    for key, value in sorted({**module.state_dict(), "logits": logits}.items()):
        digest.update(key.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    card = Card(architecture=f"python:{name}", classes=classes, shape=split.shape)
    return ModelSource(name, where, loaded=Loaded(module, card, digest.hexdigest()))


def _answer(module: nn.Module, x: Tensor, split: Split) -> Tensor:
    """The logits of a few images, one row each and a column for every class that occurs."""
    try:
        logits: Tensor = module.eval()(x).detach()
    except (RuntimeError, ValueError, AssertionError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
        raise InputError(f"model: does not take images of shape {tuple(x.shape)}: {reason}") from None
    rule = f"must answer {len(x)} images with logits [{len(x)}, k], k at least {len(split.classes)} as the labels have"
    fits = logits.ndim == 2 and len(logits) == len(x) and logits.shape[1] >= len(split.classes)
    require(fits, "model", rule, tuple(logits.shape))
    return logits


def _only_for_paths(**given: object) -> None:
    for name, value in given.items():
        require(value is None, name, "is for a checkpoint's file: a model in memory has its own", value)


def _widened(where: DataSource, classes: tuple[str, ...]) -> DataSource:
    """Data in memory know only the classes that occur in them; the model may know more."""
    if where.split is None or len(where.split.classes) >= len(classes):
        return where
    return DataSource(where.spec, replace(where.split, classes=classes))


def _with_other(where: DataSource, given: Pair) -> DataSource:
    """The data beside samples to calibrate on, which may not have all of their classes."""
    other, classes = _data_source(given).load(), where.load().classes
    fits = len(other.classes) <= len(classes)
    require(fits, "calibrate_on", f"must have the data's {len(classes)} classes", len(other.classes))
    return replace(where, other=replace(other, classes=classes))


def _spec(data: Data | None) -> str | None:
    if isinstance(data, str):
        return data
    return None if data is None else "memory"


def _data_source(data: Data | None) -> DataSource:
    if isinstance(data, str | DataSet):
        return DataSource(DATA.parse(data).spec)
    if isinstance(data, DataLoader):
        return DataSource("memory", from_loader(data))
    if isinstance(data, tuple | list) and len(data) == 2:
        return DataSource("memory", from_pair(*data))
    raise InputError(f"data={type(data).__name__}: must be a spec, a pair (images, labels) or a DataLoader")
