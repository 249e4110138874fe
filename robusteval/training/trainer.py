"""The one training loop: any variant, any data set, any architecture; deterministic by seed."""

import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from robusteval import __version__
from robusteval.calibration.temperature import best_temperature
from robusteval.core import files
from robusteval.core.errors import CheckpointError, InputError, require
from robusteval.core.precision import full_float32
from robusteval.core.rng import Stream
from robusteval.core.types import Batch, Predictions
from robusteval.core.world import world
from robusteval.data import Augmentation, DataSet, Split
from robusteval.data.augment import augment
from robusteval.data.dataset import parts
from robusteval.metrics import METRICS
from robusteval.models import Architecture
from robusteval.models.checkpoint import Card
from robusteval.models.classifier import Classifier
from robusteval.models.fit import Epoch, State, fit
from robusteval.training.recipe import Recipe
from robusteval.variants import VARIANTS, Fitting, Variant
from robusteval.variants.fitting import Progress, Tensors, unheard

Row = dict[str, float]


class Trained(NamedTuple):
    """A model in eval mode on the CPU, its card, and its learning curves: a row per epoch with the same keys."""

    model: Classifier
    card: Card
    curves: list[Row]


class Desk(NamedTuple):
    """Where a training keeps its things, and who hears of it.

    Attributes:
        saved: file of the unfinished training, written after every epoch; it is gone on with where it exists.
        cache: folder of fitted parts.
        on_epoch: called after every epoch with the rows so far.
        progress: hears of the parts that a variant fits first.
    """

    saved: Path | None = None
    cache: Path | None = None
    on_epoch: Callable[[list[Row]], None] = lambda _: None
    progress: Progress = unheard


@dataclass(frozen=True)
class Training:
    """One run of training: everything that its checkpoint depends on.

    In a world of several processes each takes its share of every batch, which is mixed within the share; the loss and
    the notes of the curves are those of the first one's shares.
    """

    variant: Variant
    data: DataSet
    architecture: Architecture
    recipe: Recipe
    seed: int
    device: str = "cpu"

    def rehearse(self) -> None:
        """Find out before any work what does not fit: one batch goes through what can be tried at once.

        Raises:
            InputError: a setting does not fit the data or the other settings.
        """
        train, _ = self._parts()
        _check(self, train)
        model = self._model(train)
        rows = train.batch(slice(self.recipe.batch_size // world().size))
        batch = Batch(*(tensor.to(self.device) for tensor in rows))
        try:
            model(batch.x)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            said = f"cannot take the samples of {self.data.spec}, of shape {train.shape}: {reason}"
            raise InputError(f"architecture={self.architecture.spec!r}: {said}") from None
        self.variant.rehearse(model, batch, len(train.classes), Stream.seeded(self.seed).stream("rehearsal"))

    def run(self, desk: Desk | None = None) -> Trained:
        """Train from scratch, or go on where the same training was left.

        Raises:
            CheckpointError: the loss is no longer finite, or the unfinished training is another one's.
            InputError: a setting does not fit the data.
        """
        with full_float32():
            return self._run(desk or Desk())

    def _run(self, desk: Desk) -> Trained:
        train, validation = self._parts()
        _check(self, train)
        fitting = _Warm(self, train, desk).fitting
        model, curves = self._descend(train, validation, self.variant.prepared(fitting), desk)
        logits = None if validation is None else _logits(model, validation, self.device)
        card = Card(
            architecture=self.architecture.spec,
            classes=train.classes,
            shape=train.shape,
            mean=tuple(round(float(value), 4) for value in model.mean.flatten()),
            std=tuple(round(float(value), 4) for value in model.std.flatten()),
            data=self.data.spec,
            data_digest=train.digest,
            recipe=self.recipe.card(),
            variant=self.variant.spec,
            seed=self.seed,
            temperature=None if logits is None or validation is None else best_temperature(logits, _labels(validation)),
            validation=None if logits is None or validation is None else figures(logits, validation),
            processes=world().size,
            code=__version__,
        )
        return Trained(model.cpu(), card, curves)

    def settled(self, card: Card) -> bool:
        """Whether a checkpoint's card is that of this run; keys that a recipe lacks have their defaults."""
        try:
            recipe = Recipe.model_validate(card.recipe)
        except ValidationError:
            return False
        mine = (self.architecture.spec, self.data.spec, self.recipe.card(), self.variant.spec, self.seed, world().size)
        theirs = (card.architecture, card.data, recipe.card(), card.variant, card.seed, card.processes)
        return mine == theirs and card.data_digest == self._parts()[0].digest

    def _parts(self) -> tuple[Split, Split | None]:
        return parts(_train_split(self.data), self.recipe.validation, self.seed)

    def _model(self, train: Split) -> Classifier:
        network = self.architecture.initialised(train.shape, len(train.classes), self.seed)
        model = Classifier(network, *moments(train)).to(self.device)
        return model.to(memory_format=torch.channels_last) if self.recipe.channels_last else model

    def _descend(
        self, train: Split, validation: Split | None, variant: Variant, desk: Desk
    ) -> tuple[Classifier, list[Row]]:
        """The loop itself, on a training part."""
        rng, settings, share = Stream.seeded(self.seed).stream("train"), self.recipe.settings(len(train)), world()
        model = self._model(train)
        state, key = State(model, settings), repr((self, train.digest, share.size))
        curves = _resumed(state, desk.saved, key)
        images, labels, ids = (tensor.to(self.device) for tensor in (train.images, train.labels, train.ids))
        resident = Split(images, labels, ids, train.classes)
        objective = _Objective(model, variant, len(train.classes))
        outer = objective if share.size == 1 else DistributedDataParallel(objective)
        if self.recipe.compile:
            model.network.compile()

        def batches(epoch: int) -> Iterator[tuple[int, Batch]]:
            order = rng.stream("order").permutation(torch.tensor([epoch]), len(train))[0].to(self.device)
            for number in range(settings.steps_per_epoch):
                rows = order[number * self.recipe.batch_size :][: self.recipe.batch_size]
                batch = resident.batch(rows[share.rank :: share.size])
                step = epoch * settings.steps_per_epoch + number
                draws = rng.stream("augment", epoch)
                yield step, batch._replace(x=augment(batch.x, batch.ids, self._augmentation, draws))

        def loss(_: nn.Module, item: tuple[int, Batch]) -> Tensor:
            step, batch = item
            with torch.autocast(self.device, torch.bfloat16, enabled=self.recipe.precision == "bf16"):
                value: Tensor = outer(batch, rng.stream("step", step))
            return value

        def on_epoch(epoch: Epoch) -> None:
            row = {"epoch": epoch.number + 1, "lr": epoch.lr, "loss": epoch.loss, **objective.taken()}
            if validation is not None:
                figured = figures(_logits(state.result, validation, self.device), validation)
                row |= {f"validation_{name}": value for name, value in figured.items()}
            curves.append(row)
            if share.rank == 0:
                if desk.saved is not None:
                    _save(desk.saved, {"key": key, "state": state.captured(), "curves": curves})
                desk.on_epoch(curves)

        fit(state, batches, loss, settings, on_epoch)
        return model, curves

    @property
    def _augmentation(self) -> Augmentation:
        return self.data.augmentation if self.recipe.augment else Augmentation()


class _Objective(nn.Module):
    """The loss of a variant as a module, so that whatever it does is one forward pass to DistributedDataParallel."""

    def __init__(self, model: nn.Module, variant: Variant, classes: int) -> None:
        super().__init__()
        self.model, self.variant, self.classes = model, variant, classes
        self.sums: dict[str, Tensor] = {}
        self.steps = 0

    def forward(self, batch: Batch, rng: Stream) -> Tensor:
        """The loss, a scalar; the notes are summed."""
        loss, notes = self.variant.loss_with_notes(self.model, batch, self.classes, rng)
        for name, value in notes.items():
            self.sums[name] = self.sums.get(name, 0) + value.detach().float()
        self.steps += 1
        return loss

    def taken(self) -> Row:
        """The means of the notes since the last call."""
        means = {name: float(total) / self.steps for name, total in self.sums.items()}
        self.sums, self.steps = {}, 0
        return means


@dataclass(frozen=True)
class _Warm:
    """What a variant may fit with: ERM networks by the run's own recipe, each a fitted part of its own."""

    training: Training
    train: Split
    desk: Desk

    @property
    def fitting(self) -> Fitting:
        run, desk = self.training, self.desk
        return Fitting(self.train, run.seed, self, run._augmentation, run.device, desk.cache, desk.progress)

    @property
    def key(self) -> str:
        """The architecture, the data set's augmentation and the recipe but for its length."""
        run = self.training
        recipe = {**run.recipe.card(), "epochs": None}
        return repr((run.architecture.spec, run.architecture.version, run._augmentation, sorted(recipe.items())))

    def __call__(self, epochs: int) -> Classifier:
        """The network after a whole training of that many epochs."""
        recipe = self.training.recipe.model_copy(update={"epochs": epochs})
        run = replace(self.training, variant=VARIANTS.parse("erm"), recipe=recipe)

        def fitted() -> Tensors:
            desk = Desk(on_epoch=lambda curves: self.desk.progress("erm", len(curves), epochs))
            return run._descend(self.train, None, run.variant, desk)[0].network.state_dict()

        model = run._model(self.train)
        model.network.load_state_dict(self.fitting.part("erm", (self.key, epochs), fitted))
        return model.eval()


def moments(split: Split) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of pixels in [0, 1], rounded to four digits."""
    if split.images.dtype == torch.uint8:
        values = torch.arange(256, dtype=torch.float64) / 255
        counts = torch.stack([torch.bincount(channel.flatten(), minlength=256) for channel in split.images.unbind(1)])
        shares = counts / counts.sum(dim=1, keepdim=True)
    else:
        values = split.images.transpose(0, 1).flatten(1).to(torch.float64)
        shares = torch.full_like(values, 1 / values.shape[1])
    mean = (shares * values).sum(dim=1)
    std = (shares * (values - mean[:, None]) ** 2).sum(dim=1).sqrt().clamp_min(1e-3)
    return tuple(round(float(value), 4) for value in mean), tuple(round(float(value), 4) for value in std)


FIGURES = ("accuracy", "borderline", "brier", "ece", "nll")
"""What learning curves and cards hold."""


def figures(logits: NDArray[np.float32], split: Split) -> Row:
    """The metrics of curves and cards on a split."""
    predictions = Predictions.from_logits(logits, _labels(split), split.ids.numpy())
    return {name: METRICS.parse(name)(predictions) for name in FIGURES}


def _labels(split: Split) -> NDArray[np.int64]:
    labels: NDArray[np.int64] = split.labels.numpy()
    return labels


@torch.no_grad()
def _logits(model: nn.Module, split: Split, device: str) -> NDArray[np.float32]:
    chunks = [split.batch(slice(start, start + 500)).x for start in range(0, len(split), 500)]
    model.eval()
    logits: NDArray[np.float32] = torch.cat([model(x.to(device)).float().cpu() for x in chunks]).numpy()
    return logits


@lru_cache(maxsize=1)
def _train_split(data: DataSet) -> Split:
    """Read once for all the runs of a command."""
    return data.split("train")


def _check(training: Training, train: Split) -> None:
    variant, batch_size = training.variant, training.recipe.batch_size
    require(batch_size <= len(train), "batch_size", f"must be at most the {len(train)} training samples", batch_size)
    rule = f"must be a multiple of the {world().size} processes, with 2 samples or more for each"
    training.recipe.settings(len(train))
    require(batch_size % world().size == 0 and batch_size >= 2 * world().size, "batch_size", rule, batch_size)
    found = int(torch.bincount(train.labels).count_nonzero())
    require(found >= 2, "data", f"must have training samples of two classes or more, not {found}", training.data.spec)
    if variant.images_only and train.shape[1:] == (1, 1):
        said = f"needs images, but a sample of {training.data.spec} is a vector of {train.shape[0]} numbers"
        raise InputError(f"variant={variant.spec!r}: {said}; mixup and its kin work on vectors")


def _save(path: Path, content: dict[str, Any]) -> None:
    files.write(path, lambda file: torch.save(content, file), CheckpointError)


def _resumed(state: State, path: Path | None, key: str) -> list[Row]:
    """Put an unfinished training's state in place; its curves so far."""
    if path is None or not path.exists():
        return []
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        mine = content["key"] == key
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError):
        raise CheckpointError(f"{path} is no unfinished training, or damaged: delete it to start anew") from None
    if not mine:
        raise CheckpointError(f"{path} is an unfinished training with other settings: delete it, or name another --out")
    state.restore(content["state"])
    curves: list[Row] = content["curves"]
    return curves
