"""The plan of a run: cells, their keys, and the tasks that are still missing."""

import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, product
from typing import get_args

import torch

from robusteval import __version__
from robusteval.attacks import Passes
from robusteval.core.errors import InputError, RobustevalError, require
from robusteval.core.precision import Precision
from robusteval.data import Split
from robusteval.data.official import OfficialSet
from robusteval.engine.sources import CALIBRATE_ON, DataSource, ModelSource, Part
from robusteval.engine.suite import Samples, Suite
from robusteval.models.checkpoint import Loaded
from robusteval.probes import Probe
from robusteval.probes.official import Official
from robusteval.results.schema import MOST_CLASSES
from robusteval.results.store import ImageFiles, Store

MOST_MODELS = 8
"""Models that a worker keeps loaded."""

SHARD = 1000
"""Samples of a shard: the unit of work, and the most that a crash loses."""


@dataclass(frozen=True)
class Settings:
    """What all cells of a run share.

    Attributes:
        seed: of every random number.
        device: `cpu` or `cuda`.
        threads: torch threads of a worker; rounding depends on them.
        batch_size: rows of a pass at most; None for the device's usual.
        keep_logits: store logits of more than 100 classes.
        compile: have torch compile what is differentiated.
        gradients: precision of what is differentiated; verdicts are always in float32.
        save_adversarial: keep every attacked image, in files of this kind.
    """

    seed: int = 0
    device: str = "cpu"
    threads: int = 1
    batch_size: int | None = None
    keep_logits: bool = False
    compile: bool = False
    gradients: Precision = "float32"
    save_adversarial: ImageFiles | None = None

    def __post_init__(self) -> None:
        require(self.device in ("cpu", "cuda"), "device", "must be 'cpu' or 'cuda'", self.device)
        require(self.threads >= 1, "threads", "must be at least 1", self.threads)
        require(self.batch_size is None or self.batch_size >= 1, "batch_size", "must be at least 1", self.batch_size)
        known = get_args(Precision)
        require(self.gradients in known, "gradients", f"must be one of {', '.join(known)}", self.gradients)
        on_cuda = self.gradients != "tf32" or self.device == "cuda"
        require(on_cuda, "gradients", "tf32 is of CUDA devices; use float32 or bf16", self.gradients)
        kinds = (None, *get_args(ImageFiles))
        require(self.save_adversarial in kinds, "save_adversarial", "must be npz or png", self.save_adversarial)

    @property
    def rows(self) -> int:
        """Rows of a pass at most."""
        return self.batch_size or (1024 if self.device == "cuda" else Passes().batch_size)

    @property
    def stamp(self) -> tuple[str, ...]:
        """What computes a cell now; it is stored with the rows, which later versions may find and keep."""
        return (f"robusteval {__version__}", f"torch {torch.__version__}", f"{self.rows} rows")

    @property
    def numerics(self) -> dict[str, object]:
        """What the bits of a result depend on beside the model, the data and the view."""
        form = "compiled" if self.compile else "evaluation"
        exact = {"device": self.device, "dtype": "float32", "form": form, "threads": self.threads}
        return exact if self.gradients == "float32" else {**exact, "gradients": self.gradients}


def resolved(device: str) -> str:
    """The device as it is named, and for `auto` cuda where there is one.

    Raises:
        InputError: it is unknown, or not on this machine.
    """
    require(device in ("auto", "cpu", "cuda"), "device", "must be auto, cpu or cuda", device)
    found = torch.cuda.is_available()
    require(found or device != "cuda", "device", "torch finds no CUDA device here; use cpu", device)
    return ("cuda" if found else "cpu") if device == "auto" else device


@dataclass(frozen=True)
class Cell:
    """One checkpoint under one view.

    Attributes:
        key: digest of everything its rows depend on.
        source: the model.
        data: what it is measured on: the model's own, or samples to calibrate on.
        probe: the view.
        n: samples, from the first on.
        subset: digest of those samples.
        weights: digest of the model.
        variant: training variant spec, where the card says it.
        train_seed: training seed, where the card says it.
        origin: of corrupted images.
    """

    key: str
    source: ModelSource
    data: DataSource
    probe: Probe
    n: int
    subset: str
    weights: str
    variant: str | None
    train_seed: int | None
    origin: str | None = None

    @property
    def shards(self) -> int:
        """How many shards the cell has."""
        return -(-self.n // SHARD)


@dataclass(frozen=True)
class Task:
    """One shard of a cell: independent of every other, and harmless to repeat."""

    cell: Cell
    shard: int

    @property
    def rows(self) -> slice:
        """Its samples."""
        return slice(self.shard * SHARD, min(self.cell.n, (self.shard + 1) * SHARD))


def cells(
    suite: Suite,
    models: Sequence[tuple[ModelSource, Loaded, Split]],
    settings: Settings,
    samples: Samples | None = None,
) -> list[Cell]:
    """All cells of a run: a few models at a time, view by view, so that a changed batch serves each of them.

    Raises:
        RobustevalError: stored images are missing or not those of the data, or there is no split to calibrate on.
    """
    digests: dict[tuple[str, int], str] = {}
    stored, others = StoredViews(), OtherSplits()
    depends: dict[Probe, str] = {}
    found = []
    for start in range(0, len(models), MOST_MODELS):
        for (probe, group), (source, loaded, split) in product(suite.probes, models[start : start + MOST_MODELS]):
            data, card = source.data, loaded.card
            if probe.split == "test":
                place = data.spec, suite.size(group, len(split), samples)
                if place not in digests:
                    digests[place] = split.first(place[1]).digest
                n, subset = place[1], digests[place]
            else:
                data = source.part(probe.split, card, suite.size(group, sys.maxsize, samples))
                n, subset = others.checked(data, split.first(_most(suite, len(split), samples)))
            if probe not in depends:
                depends[probe] = probe.depends
            files, origin = depends[probe], probe.facets.origin
            if isinstance(probe, Official):
                files, origin = stored.checked(probe, data, split, n)
            key = _key(loaded, subset, probe, settings, files)
            found.append(Cell(key, source, data, probe, n, subset, loaded.digest, card.variant, card.seed, origin))
    return found


class OtherSplits:
    """Loads the samples of each split to calibrate on once, counts and digests them."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, Part | None], tuple[int, str]] = {}

    def checked(self, data: DataSource, evaluated: Split) -> tuple[int, str]:
        """How many samples there are, and their digest.

        Raises:
            InputError: the data set has no such split, its images or classes are not those of the evaluated samples, or
                it was handed some of these.
        """
        if data.place not in self._known:
            argument = f"{CALIBRATE_ON}={'' if data.part is None else data.part.name!r}"
            try:
                found = data.load()
            except RobustevalError as error:
                raise InputError(f"{argument}: {error}") from None
            if (found.shape, len(found.classes)) != (evaluated.shape, len(evaluated.classes)):
                raise InputError(f"{argument}: {_form(found)}, the evaluated samples {_form(evaluated)}")
            both = len(_images(found) & _images(evaluated)) if data.other is not None else 0
            if both:
                raise InputError(f"{argument}: {both} of its images are evaluated too (TRUST R26); give others")
            self._known[data.place] = len(found), found.digest
        return self._known[data.place]


def _most(suite: Suite, available: int, samples: Samples | None) -> int:
    """The samples that are evaluated, those of the largest group."""
    sizes = (suite.size(group, available, samples) for probe, group in suite.probes if probe.split == "test")
    return max(sizes, default=0)


def _images(split: Split) -> set[bytes]:
    return {image.tobytes() for image in split.batch().x.numpy()}


def _form(split: Split) -> str:
    return f"have shape {split.shape} and {len(split.classes)} classes"


class StoredViews:
    """Checks each view of stored images once, and digests it."""

    def __init__(self) -> None:
        self._sets: dict[str, OfficialSet] = {}
        self._digests: dict[tuple[str, str, int], str] = {}

    def checked(self, probe: Official, data: DataSource, split: Split, n: int) -> tuple[str, str]:
        """The digest of a view's first n stored images, and their origin."""
        if data.spec not in self._sets:
            found = data.stored(split)
            if found is None:
                raise InputError(f"{probe.spec}: needs the folder of the stored set: name it with --official")
            found.check_archive()
            self._sets[data.spec] = found
        images, key = self._sets[data.spec], (data.spec, probe.spec, n)
        if key not in self._digests:
            self._digests[key] = images.view(*probe.place, n).digest(n)
        return self._digests[key], images.origin


def missing(planned: Sequence[Cell], store: Store) -> Iterator[Task]:
    """The tasks whose results the store does not hold; equal cells are worked once.

    They come view by view and shard by shard, so that a changed batch serves every model.
    """
    distinct = {cell.key: cell for cell in reversed(planned)}
    fresh = [cell for cell in planned if distinct[cell.key] is cell and not store.has(cell.key)]
    for _, group in groupby(fresh, key=lambda cell: cell.probe):
        tasks = [Task(cell, shard) for cell in group for shard in range(cell.shards)]
        for task in sorted(tasks, key=lambda task: task.shard):
            if not store.has_shard(task.cell.key, task.shard):
                yield task


def _key(loaded: Loaded, subset: str, probe: Probe, settings: Settings, files: str) -> str:
    parts = {
        "weights": loaded.digest,
        "architecture": loaded.card.architecture,
        "data": subset,
        "view": probe.spec,
        "versions": {component.name: component.version for component in probe.components},
        "seed": settings.seed,
        "numerics": settings.numerics,
    }
    if settings.keep_logits and len(loaded.card.classes) > MOST_CLASSES:
        parts["logits"] = "kept"  # rows stored without them do not serve
    if settings.save_adversarial and probe.facets.kind == "attack":
        parts["adversarial"] = settings.save_adversarial  # rows stored without the images do not serve
    if files:
        parts["files"] = files
    if probe.reads_card:
        parts["variant"] = loaded.card.variant
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
