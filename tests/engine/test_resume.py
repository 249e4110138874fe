"""A run may die at any moment, and be worked by anybody in any order: its record stays the same to the byte."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pandas as pd
import pytest

from robusteval.engine import plan, summary
from robusteval.engine.executor import Executor
from robusteval.engine.plan import Settings, Task
from robusteval.engine.processes import Processes
from robusteval.engine.serial import Serial
from robusteval.engine.worker import Outcome
from robusteval.results.store import Store

Measure = Callable[..., pd.DataFrame]
Record = Callable[[Path], dict[str, bytes]]

PROGRAM = [sys.executable, "-c", "from robusteval.cli import main; main()"]


def started(home: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    """A real run, in a process group of its own."""
    command = [*PROGRAM, "eval", "erm-seed0.safetensors", "erm-seed1.safetensors"]
    options = options if "--suite" in options else ("--suite", "views.toml", *options)
    return subprocess.Popen(
        [*command, "--device", "cpu", "--out", str(out), *options],
        cwd=home,
        start_new_session=True,
        # A shell that puts the tests in the background has them ignore Ctrl-C, and what they start would, too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def living(group: int) -> list[str]:
    """The processes of a group that have not ended."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            name, _, rest = (process / "stat").read_text().rpartition(")")
        except OSError:
            continue
        state, _, its_group = rest.split()[:3]
        if int(its_group) == group and state not in "ZX":
            found.append(name)
    return found


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True


@pytest.mark.parametrize(
    ("options", "sign", "count", "resumed_by"),
    [
        (("--executor", "processes", "--workers", "2"), "shards/*/*.parquet", 1, Serial()),
        (("--executor", "processes", "--workers", "2"), "samples/*.parquet", 3, Processes(workers=1)),
        (("--executor", "serial"), "samples/.*.tmp", 1, Processes(workers=2)),
    ],
    ids=["workers-first-shard", "workers-third-cell", "serial-while-writing"],
)
def test_a_killed_run_goes_on_to_the_same_bytes(
    home: Path,
    measure: Measure,
    reference: Path,
    record: Record,
    tmp_path: Path,
    options: tuple[str, ...],
    sign: str,
    count: int,
    resumed_by: Executor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(summary, "MANY", 0)  # processes summarise, too
    run = started(home, tmp_path, *options)
    try:
        assert wait_for(lambda: len(list(tmp_path.glob(sign))) >= count or run.poll() is not None, 120)
        assert run.poll() is None, run.communicate()
        os.kill(run.pid, signal.SIGKILL)
        assert wait_for(lambda: not living(run.pid), 10), f"still there: {living(run.pid)}"
    finally:
        if living(run.pid):
            os.killpg(run.pid, signal.SIGKILL)
        run.communicate()
    assert not (tmp_path / "metrics.parquet").exists()
    measure(tmp_path, resumed_by)
    assert record(tmp_path) == record(reference)


def test_ctrl_c_stops_parent_and_workers_with_one_line(home: Path, tmp_path: Path) -> None:
    slow = tmp_path.parent / f"{tmp_path.name}.toml"  # what follows the first view would take minutes
    slow.write_text('[[views]]\nspecs = ["clean", "pgd(eps=1e-6, steps=500, restarts=9)"]\n')
    run = started(home, tmp_path, "--executor", "processes", "--workers", "2", "--suite", str(slow))
    begun = ("shards/*/*.parquet", "samples/*.parquet")
    assert wait_for(lambda: any(any(tmp_path.glob(sign)) for sign in begun) or run.poll() is not None, 120)
    os.killpg(run.pid, signal.SIGINT)
    _, said = run.communicate(timeout=30)
    assert run.returncode == 130
    assert said == "robusteval: stopped; what was finished is kept, and the same command goes on there\n"
    assert wait_for(lambda: not living(run.pid), 10)


@dataclass(frozen=True)
class Shuffled(Executor):
    """Serial, in an order of its own."""

    name: ClassVar[str] = "shuffled"

    seed: int = 0

    def run(self, tasks: Sequence[Task], settings: Settings, store: Store) -> Iterator[Outcome]:
        return Serial().run(random.Random(self.seed).sample(tasks, len(tasks)), settings, store)


@dataclass(frozen=True)
class Halting(Executor):
    """Serial, and stopped after some tasks as if by Ctrl-C."""

    name: ClassVar[str] = "halting"

    tasks: int

    def run(self, tasks: Sequence[Task], settings: Settings, store: Store) -> Iterator[Outcome]:
        yield from Serial().run(tasks[: self.tasks], settings, store)
        raise KeyboardInterrupt


def test_the_order_of_tasks_changes_no_byte(measure: Measure, reference: Path, record: Record, tmp_path: Path) -> None:
    measure(tmp_path, Shuffled(seed=3))
    assert record(tmp_path) == record(reference)


def test_smaller_shards_change_no_sample(
    measure: Measure, reference: Path, record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "SHARD", 300)
    with pytest.raises(KeyboardInterrupt):
        measure(tmp_path, Halting(tasks=11))
    before = {file: file.stat().st_mtime_ns for file in tmp_path.glob("s*/**/*.parquet")}
    assert len({file.parent for file in before}) > 1, "in the middle of a cell"
    measure(tmp_path)
    kept = [file for file, time in before.items() if file.exists() and file.stat().st_mtime_ns == time]
    assert kept == [file for file in before if file.parent.name == "samples"]
    left, right = (pd.read_parquet(folder / "metrics.parquet") for folder in (tmp_path, reference))
    columns = ["model", "view", "metric", "value", "low", "high", "n"]
    pd.testing.assert_frame_equal(left[columns], right[columns])


def test_the_same_command_again_computes_nothing(
    measure: Measure, reference: Path, tmp_path: Path, record: Record
) -> None:
    before = {file: file.stat().st_mtime_ns for file in reference.glob("samples/*")}
    measure(reference)
    assert {file: file.stat().st_mtime_ns for file in reference.glob("samples/*")} == before


def test_a_growing_suite_keeps_the_rows_that_exist(measure: Measure, home: Path, tmp_path: Path) -> None:
    small, large = tmp_path / "small.toml", tmp_path / "large.toml"
    small.write_text('views = [{specs = ["fgsm(eps=8/255)"], samples = 60}]')
    large.write_text('views = [{specs = ["clean", "fgsm(eps=16/255)", "fgsm(eps=8/255)"], samples = 60}]')
    first = measure(tmp_path / "report", suite=small)
    times = {file: file.stat().st_mtime_ns for file in (tmp_path / "report" / "samples").iterdir()}
    second = measure(tmp_path / "report", suite=large)
    again = second[second["view"].eq("fgsm(eps=8/255)")].reset_index(drop=True)
    pd.testing.assert_frame_equal(again, first)
    assert {file: file.stat().st_mtime_ns for file in times} == times
