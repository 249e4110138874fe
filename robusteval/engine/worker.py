"""A worker: loads what a task names, measures it, stores the shard."""

import time
import traceback
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from robusteval.attacks import Passes
from robusteval.attacks.oracle import SMALLEST, padded, steady
from robusteval.core.errors import RecordError, RobustevalError
from robusteval.core.precision import Precision, full_float32
from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.data import Split
from robusteval.data.official import OfficialSet
from robusteval.engine.plan import MOST_MODELS, Settings, Task
from robusteval.engine.sources import DataSource, ModelSource, Part
from robusteval.models.fuse import compiled, evaluation_form
from robusteval.probes.probe import Shared, Subject
from robusteval.results.store import Facts, Store


class Outcome(NamedTuple):
    """What became of a task: its seconds, and the error that failed it, with a traceback where it is a bug."""

    task: Task
    seconds: float
    error: str | None = None
    trace: str | None = None


class Ready(NamedTuple):
    """A loaded model: the original, its evaluation form, how it is passed."""

    model: torch.nn.Module
    form: torch.nn.Module
    passes: Passes


@dataclass
class Worker:
    """One process's share of a run; it keeps its models, its data and the last changed batch."""

    settings: Settings
    store: Store
    splits: dict[tuple[str, Part | None], Split] = field(default_factory=dict)
    officials: dict[str, OfficialSet] = field(default_factory=dict)
    models: dict[str, Ready] = field(default_factory=dict)
    shared: Shared = field(default_factory=Shared)

    def attempt(self, task: Task) -> Outcome:
        """Run a task; whatever goes wrong fails its cell alone, but a store that cannot be written ends the run."""
        start = time.perf_counter()
        try:
            self._run(task)
        except RecordError:
            raise
        except RobustevalError as error:
            return Outcome(task, time.perf_counter() - start, str(error))
        except Exception as error:  # noqa: BLE001 - the one place that turns a bug into a failed cell
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            return Outcome(task, time.perf_counter() - start, reason, traceback.format_exc())
        return Outcome(task, time.perf_counter() - start)

    @full_float32()
    def _run(self, task: Task) -> None:
        cell, device = task.cell, self.settings.device
        split = self._split(cell.data)
        # Rounding is checked on the same images whatever is measured first.
        ready = self._ready(cell.source, self._split(cell.source.data))
        subject = Subject(
            model=ready.model,
            form=ready.form,
            batch=Batch(*(tensor.to(device) for tensor in split.batch(task.rows))),
            data=(cell.subset, task.shard),
            passes=ready.passes,
            keep_logits=self.settings.keep_logits,
            keep_images=self.settings.save_adversarial is not None,
            stored=partial(self._stored, task),
            shared=self.shared,
            variant=cell.variant,
        )
        measurements = list(cell.probe.measure(subject, Stream.seeded(self.settings.seed)))
        if [measurement.view for measurement in measurements] != [cell.probe.spec]:
            views = [measurement.view for measurement in measurements]
            raise RuntimeError(f"the probe of {cell.probe.spec!r} must yield this one view, not {views}")
        if measurements[0].examples and task.shard == 0:
            self.store.write_examples(cell.key, measurements[0].examples)
        if measurements[0].images is not None and self.settings.save_adversarial is not None:
            kept = measurements[0].images, subject.batch.ids
            self.store.write_images(cell.key, task.shard, self.settings.save_adversarial, *kept)
        for name, grid in measurements[0].grids.items():
            self.store.write_grid(cell.key, task.shard, name, grid)
        facts = measurements[0].facts + Facts(by=self.settings.stamp)
        self.store.write_shard(cell.key, task.shard, measurements[0].frame, facts)

    def _stored(self, task: Task, corruption: str, severity: int, severities: int) -> Tensor:
        """The stored images of a shard."""
        source = task.cell.source
        if source.data.spec not in self.officials:
            found = source.data.stored(self._split(source.data))
            if found is None:
                raise ValueError(f"{source.label} has no stored images")  # the plan has seen to it
            self.officials[source.data.spec] = found
        images = self.officials[source.data.spec].view(corruption, severity, severities, task.cell.n)
        return images.images(task.rows).to(self.settings.device)

    def _split(self, data: DataSource) -> Split:
        if data.place not in self.splits:
            self.splits[data.place] = data.load()
        return self.splits[data.place]

    def _ready(self, source: ModelSource, split: Split) -> Ready:
        if source.label not in self.models:
            while len(self.models) >= MOST_MODELS:
                del self.models[next(iter(self.models))]
            self.models[source.label] = prepare(source, split, self.settings)
        return self.models[source.label]


def prepare(source: ModelSource, split: Split, settings: Settings) -> Ready:
    """Load a model and make it ready."""
    model = source.load(split).model.to(settings.device)
    example = split.batch(slice(0, 32)).x.to(settings.device)
    return ready(model, example, settings.rows, settings.compile, settings.gradients)


def ready(
    model: torch.nn.Module, example: Tensor, rows: int, compile: bool = False, gradients: Precision = "float32"
) -> Ready:
    """Make a model's evaluation form, and see whether its rounding depends on the size of a pass.

    Args:
        model: the original, in eval mode.
        example: some images, 32 where there are as many.
        rows: of a pass at most.
        compile: have torch compile the form, for passes of this size alone.
        gradients: precision of what is differentiated.

    Raises:
        InputError: torch cannot compile the model here.
    """
    form = evaluation_form(model, example[:16]).model
    largest = len(padded(example[:1].expand(max(rows, 1), -1, -1, -1)))
    if compile:
        form = compiled(form, example[torch.arange(largest, device=example.device) % len(example)])
        return Ready(model, form, Passes(rows, largest, gradients))
    same = largest == SMALLEST or (
        steady(form, example, rows, precision=gradients) and steady(model, example, rows, gradient=False)
    )
    return Ready(model, form, Passes(rows, None if same else largest, gradients))
