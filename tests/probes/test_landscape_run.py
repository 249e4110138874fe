"""Landscapes through a run: shard by shard, stopped and gone on with, and ready to be drawn."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pandas as pd
import pytest

from robusteval.attacks import Passes
from robusteval.core.rng import Stream
from robusteval.data import DATA
from robusteval.engine import plan
from robusteval.engine.executor import Executor
from robusteval.engine.plan import Settings, Task
from robusteval.engine.run import Run
from robusteval.engine.serial import Serial
from robusteval.engine.sources import DataSource, ModelSource
from robusteval.engine.suite import Group, Suite
from robusteval.engine.worker import Outcome
from robusteval.models import ARCHITECTURES
from robusteval.models.checkpoint import Card, Loaded, digest
from robusteval.models.classifier import Classifier
from robusteval.probes import Subject, parse_view
from robusteval.probes.slices import pooled
from robusteval.reporting import landscapes
from robusteval.results.store import Store

DIGITS = DATA.parse("digits").split("test").first(60)
VIEW = "landscape(radii=(0.2,), directions=1, points=3)"
SUITE = Suite(name="t", views=(Group(specs=(VIEW, "sharpness(iterations=3, draws=1)")),), samples=60)
NAMES = {"weights-1d", "weights-2d", "inputs-2d"}


@dataclass(frozen=True)
class Halting(Executor):
    """Serial, and stopped after some shards as if by Ctrl-C."""

    name: ClassVar[str] = "halting"

    tasks: int

    def run(self, tasks: Sequence[Task], settings: Settings, store: Store) -> Iterator[Outcome]:
        yield from Serial().run(tasks[: self.tasks], settings, store)
        raise KeyboardInterrupt


@pytest.fixture(scope="module")
def model() -> Classifier:
    return Classifier(ARCHITECTURES.parse("mlp").initialised(DIGITS.shape, 10)).eval()


@pytest.fixture
def measure(model, monkeypatch):
    """A run with shards of 25 samples, which are three."""
    monkeypatch.setattr(plan, "SHARD", 25)
    card = Card(architecture="mlp", classes=DIGITS.classes, shape=DIGITS.shape)
    source = ModelSource("m", DataSource("digits"), loaded=Loaded(model, card, digest(model)))

    def run(folder: Path, executor: Executor | None = None) -> pd.DataFrame:
        return Run(SUITE, [source], Settings(), executor or Serial()).into(folder, pytest.fail)

    return run


def files(folder: Path) -> dict[str, bytes]:
    found = (file for file in folder.rglob("*") if file.is_file() and file.name not in ("run.json", "timings.parquet"))
    return {str(file.relative_to(folder)): file.read_bytes() for file in found}


def test_a_stopped_run_goes_on_to_the_same_bytes(measure, tmp_path):
    measure(tmp_path / "whole")
    for tasks in (2, 4):
        with pytest.raises(KeyboardInterrupt):
            measure(tmp_path / str(tasks), Halting(tasks=tasks))
        begun = {file: file.stat().st_mtime_ns for file in (tmp_path / str(tasks)).rglob("grids/*/*.parquet")}
        assert len(begun) == 3 * min(tasks, 3)
        measure(tmp_path / str(tasks))
        assert {file: file.stat().st_mtime_ns for file in begun} == begun
        assert files(tmp_path / str(tasks)) == files(tmp_path / "whole")


def test_what_is_stored_is_the_landscape_of_all_samples(measure, model, tmp_path):
    metrics = measure(tmp_path)
    store = Store(tmp_path)
    cells = store.read_table("cells").set_index("view")["cell"]
    grids = {name: pooled(parts) for name, parts in store.read_grids(cells[VIEW]).items()}
    assert set(grids) == NAMES
    assert all((grid["n"] == 60).all() for grid in grids.values())
    subject = Subject(model, model, DIGITS.batch(), ("d", 0), Passes())
    for name, expected in parse_view(VIEW).grids(subject, Stream.seeded(0)).items():
        pd.testing.assert_frame_equal(grids[name], expected, rtol=1e-5)
    rise = metrics.set_index("metric").loc["rise_0.2"]
    assert rise["low"] <= rise["value"] <= rise["high"]
    for draw, name in (
        (landscapes.line, "weights-1d"),
        (landscapes.contour, "weights-2d"),
        (landscapes.surface, "weights-2d"),
        (landscapes.contour, "inputs-2d"),
    ):
        assert draw({"m": grids[name]}).axes
