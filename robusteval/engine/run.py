"""A run: describe and load every model, plan, execute what is missing, write the record."""

import os
import platform
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm import tqdm

from robusteval import __version__
from robusteval.core.errors import InputError, require
from robusteval.data import Split
from robusteval.engine import summary
from robusteval.engine.executor import Executor
from robusteval.engine.plan import Cell, Settings, cells, missing
from robusteval.engine.recalibration import DEFAULT, Recalibration, chosen
from robusteval.engine.sources import ModelSource
from robusteval.engine.suite import Samples, Suite
from robusteval.engine.worker import Outcome
from robusteval.models.checkpoint import Loaded
from robusteval.results.schema import MOST_CLASSES
from robusteval.results.store import ID_LENGTH, Store

Warn = Callable[[str], None]


@dataclass(frozen=True)
class Run:
    """What to do: a suite on models.

    Attributes:
        suite: the views.
        sources: the models.
        settings: what all cells share.
        executor: who works.
        samples: stands in for the suite's own number of samples.
        recalibrate: specs of the recalibrators.
    """

    suite: Suite
    sources: Sequence[ModelSource]
    settings: Settings
    executor: Executor
    samples: Samples | None = None
    recalibrate: Sequence[str] = DEFAULT

    def __post_init__(self) -> None:
        number = isinstance(self.samples, int) and not isinstance(self.samples, bool) and self.samples >= 1
        require(self.samples in (None, "all") or number, "samples", "must be at least 1, or 'all'", self.samples)

    def into(self, folder: Path, warn: Warn) -> pd.DataFrame:
        """Measure everything that the folder does not hold yet.

        Args:
            folder: of the report.
            warn: takes a line for each failed cell, the traceback of a bug, and what a view says of the images.

        Returns:
            The frame `metrics`.

        Raises:
            RobustevalError: a model, the data or the folder cannot be used; nothing was measured then.
        """
        recalibration = Recalibration(chosen(self.recalibrate), self.settings.seed, self.suite.calibration is not None)
        loaded = self._loaded()
        self._check_logits(recalibration, [found for _, found, _ in loaded])
        planned = cells(self.suite, loaded, self.settings, self.samples)
        left_out = _models_of(folder) - {source.label for source in self.sources}
        store = Store.opened(folder, {**self._provenance(planned), "classes": _classes(loaded)})
        if left_out:
            names = ", ".join(sorted(left_out))
            warn(
                f"{folder} held {names} before: its tables now show this run alone; name those too to see them together"
            )
        for remark in self._remarks([split for _, _, split in loaded]):
            warn(remark)
        errors = self._execute(planned, store, warn)
        return summary.write(store, planned, errors, self.settings.seed, recalibration, self.executor)

    def _check_logits(self, recalibration: Recalibration, models: Sequence[Loaded]) -> None:
        """See that logits are kept where recalibration was asked for."""
        asked = recalibration.apart or tuple(map(str, recalibration.recalibrators)) != DEFAULT
        classes = max(len(model.card.classes) for model in models)
        if asked and classes > MOST_CLASSES and not self.settings.keep_logits:
            raise InputError(
                f"calibrate-on, recalibrate: need the logits, which of {classes} classes are kept only with "
                f"--keep-logits: of more than {MOST_CLASSES} they are not kept by themselves"
            )

    def _loaded(self) -> list[tuple[ModelSource, Loaded, Split]]:
        """Every model once, so that all bad input is found before any work starts."""
        splits: dict[str, Split] = {}
        found = []
        for source in tqdm(self.sources, "load", disable=None, delay=2, leave=False):
            if source.data.spec not in splits:
                splits[source.data.spec] = source.data.load()
            split = splits[source.data.spec]
            loaded = source.load(split)
            # Only the card and the digest are needed here: workers load what they measure.
            found.append((source, Loaded(torch.nn.Identity(), loaded.card, loaded.digest), split))
        return found

    def _remarks(self, splits: Sequence[Split]) -> list[str]:
        """What the views say of the images, each sentence once."""
        said = (probe.remark(split.shape) for probe, _ in self.suite.probes for split in splits)
        return list(dict.fromkeys(remark for remark in said if remark is not None))

    def _execute(self, planned: Sequence[Cell], store: Store, warn: Warn) -> dict[str, str]:
        tasks = list(missing(planned, store))
        left = Counter(task.cell.key for task in tasks)
        for cell in planned:
            if left[cell.key] == 0:
                store.finish(cell.key, cell.shards)
        errors: dict[str, tuple[int, str]] = {}
        timings = _Timings(store, self.settings)
        with tqdm(total=len(tasks), unit="shard", disable=None, delay=2) as bar:
            for outcome in self.executor.run(tasks, self.settings, store):
                cell = outcome.task.cell
                bar.update()
                bar.set_postfix_str(f"{cell.source.label} {cell.probe.spec}", refresh=False)
                left[cell.key] -= 1
                if outcome.error is not None:
                    # The first shard speaks for the cell, whichever ended first.
                    errors[cell.key] = min(errors.get(cell.key, (cell.shards, "")), (outcome.task.shard, outcome.error))
                    with tqdm.external_write_mode():
                        warn(f"{cell.source.label}, {cell.probe.spec}: {outcome.trace or outcome.error}")
                elif left[cell.key] == 0 and cell.key not in errors:
                    store.finish(cell.key, cell.shards)
                timings.add(outcome)
        timings.write()
        return {key: error for key, (_, error) in errors.items()}

    def _provenance(self, planned: Sequence[Cell]) -> dict[str, Any]:
        packages = ("torch", "torchvision", "numpy", "pandas", "pillow", "pyarrow", "scipy", "safetensors")
        return {
            "suite": self.suite.model_dump(mode="json"),
            "samples": self.samples,
            "recalibrate": list(self.recalibrate),
            "seed": self.settings.seed,
            "numerics": self.settings.numerics,
            "batch_size": self.settings.rows,
            "models": {source.label: None if source.path is None else str(source.path) for source in self.sources},
            "official": sorted({str(source.data.official) for source in self.sources if source.data.official}),
            "weights": {cell.source.label: cell.weights for cell in planned},
            "data": {cell.data.subset(cell.n): cell.subset for cell in planned},
            "versions": {"robusteval": __version__, "python": platform.python_version()}
            | {name: version(name) for name in packages},
            "commit": _commit(),
        }


class _Timings:
    """Wall time by shard, added to those of earlier runs into the same folder."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store, self.rows = store, list[dict[str, Any]]()
        device = torch.cuda.get_device_name() if settings.device == "cuda" else platform.machine()
        self.hardware = {"device": device, "cores": os.cpu_count(), "threads": settings.threads}

    def add(self, outcome: Outcome) -> None:
        cell = outcome.task.cell
        names = {"cell": cell.key[:ID_LENGTH], "model": cell.source.label, "view": cell.probe.spec}
        self.rows.append({**names, "shard": outcome.task.shard, "seconds": outcome.seconds, **self.hardware})

    def write(self) -> None:
        if not self.rows:
            return
        frame = pd.DataFrame(self.rows)
        if (self.store.folder / "timings.parquet").exists():
            frame = pd.concat([self.store.read_table("timings"), frame], ignore_index=True)
        self.store.write_table("timings", frame)


def _classes(loaded: Sequence[tuple[ModelSource, Loaded, Split]]) -> dict[str, list[str]]:
    """The class names of each data set, which figures show."""
    return {source.data.spec: list(split.classes) for source, _, split in loaded}


def _models_of(folder: Path) -> set[str]:
    """The models that a report shows, where there is one."""
    return set(Store.check(folder)["models"]) if (folder / "run.json").exists() else set()


def _commit() -> str | None:
    """The commit of the code where it is a checkout, with a plus where files were changed."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty=+", "--abbrev=40"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return answer.stdout.strip() or None
