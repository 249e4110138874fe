"""What each verb prints, writes and answers."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from robusteval.data import DATA
from robusteval.models import ARCHITECTURES
from robusteval.models.checkpoint import Card, read_card, save
from robusteval.models.classifier import Classifier
from robusteval.results.report import Report

Call = Callable[..., Any]

HEAVY = {"torch", "torchvision", "pandas", "numpy", "pydantic", "scipy", "sklearn", "pyarrow", "safetensors"}

FACTORY = """
import torch
def net(classes, nan=False):
    linear = torch.nn.Linear(64, classes)
    return torch.nn.Sequential(torch.nn.Flatten(), linear, *([Bad()] if nan else []))
class Bad(torch.nn.Module):
    def forward(self, x):
        return torch.where(x.amax(dim=1, keepdim=True) > x.mean() + 0.5, torch.nan, x)
"""


@pytest.mark.parametrize("line", [["--help"], ["eval", "-h"]])
def test_help_imports_nothing_heavy(line: list[str]) -> None:
    heavy = HEAVY if line == ["--help"] else HEAVY - {"pydantic"}  # typer's own, to read a verb's options
    code = f"""
import sys
import time
sys.argv = {["robusteval", *line]!r}
from robusteval.cli import main
try:
    main()
finally:
    print(sorted({heavy!r} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"
    assert "Usage: robusteval" in done.stdout


@pytest.mark.parametrize("verb", ["train", "eval", "corrupt", "report", "list"])
def test_help_of_a_verb(command: Call, verb: str) -> None:
    answer = command(verb, "--help")
    assert (answer.code, answer.err) == (0, "")
    assert f"Usage: robusteval {verb}" in " ".join(answer.out.split())
    assert verb in command("--help").out


def test_version(command: Call) -> None:
    assert command("--version").out == "robusteval 0.1.0\n"


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        (None, "attacks"),
        ("attacks", "  pgd(eps, norm='linf', steps=20"),
        ("corruptions", "  fog"),
        ("variants", "  mixup(alpha=1.0"),
        ("metrics", "  ece(bins=15"),
        ("probes", "  linearity(eps=8/255"),
        ("architectures", "  torchvision:NAME(...)"),
        ("data", "  npz(path"),
        ("executors", "  processes(workers=None)"),
        ("plots", "  reliability(views=()"),
        ("suites", "  quick"),
        ("recipes", "  small"),
    ],
)
def test_list(command: Call, kind: str | None, line: str) -> None:
    answer = command("list", *([kind] if kind else []))
    assert (answer.code, answer.err) == (0, "")
    titles = [text for text in answer.out.splitlines() if text and not text.startswith(" ")]
    assert len(titles) == (12 if kind is None else 1)
    assert any(text.startswith(line) for text in answer.out.splitlines())


def test_eval_prints_and_writes_the_table(desk: Path, command: Call) -> None:
    answer = command("eval", "--suite", "tiny.toml")
    assert answer.code == 0
    assert answer.err == "", "quiet when not a terminal"
    assert answer.out.endswith("written: reports/tiny/ (metrics, samples, table.md, table.csv, table.tex)\n")
    folder = desk / "reports" / "tiny"
    assert answer.out.startswith((folder / "table.md").read_text())
    head = "| model | clean | fgsm(eps=8/255), quick | fog@3 | ece (%) | ece after temperature (%) | gamma |"
    assert head in answer.out
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [
            *("run.json", "metrics.parquet", "metrics.csv", "cells.parquet", "timings.parquet", "samples", "examples"),
            *("recalibration.parquet", "halves.parquet"),
            *("table.md", "table.csv", "table.tex"),
        ]
    )
    report = Report.read(folder)
    accuracy = report.metrics.query("view == 'clean' and metric == 'accuracy'")["value"].iloc[0]
    assert pd.read_csv(folder / "table.csv")["clean"][0].startswith(f"{100 * accuracy:.1f} ±")
    run = json.loads((folder / "run.json").read_text())
    assert {"commit", "data", "models", "numerics", "seed", "suite", "versions", "weights"} <= set(run)


def test_report_writes_the_table_again_from_the_record(desk: Path, command: Call) -> None:
    command("eval", "--suite", "tiny.toml", "--out", "here")
    tables = {path: path.read_bytes() for path in (desk / "here").glob("table.*")}
    for path in tables:
        path.unlink()
    answer = command("report", "here")
    assert answer.code == 0
    assert {path: path.read_bytes() for path in (desk / "here").glob("table.*")} == tables
    (desk / "here" / "metrics.parquet").write_bytes(b"")
    assert "metrics.parquet is damaged: delete it" in command("report", "here").line
    (desk / "here" / "metrics.parquet").unlink()
    assert "its run did not end" in command("report", "here").line


def test_options_reach_the_run(desk: Path, command: Call) -> None:
    (desk / "tiny.toml").write_text('samples = 60\nviews = [{specs = ["clean"]}, {specs = ["fog@3"], samples = 10}]')
    options = ["--samples", "all", "--seed", "7", "--batch-size", "32", "--device", "cpu", "--threads", "2"]
    options += ["--calibrate-on", "train", "--recalibrate", "temperature,vector"]
    assert command("eval", "net.safetensors", "--suite", "tiny.toml", "--out", "out", *options).code == 0
    run = json.loads((desk / "out" / "run.json").read_text())
    assert (run["samples"], run["seed"], run["batch_size"]) == ("all", 7, 32)
    assert run["numerics"] == {"device": "cpu", "dtype": "float32", "form": "evaluation", "threads": 2}
    sizes = Report.read(desk / "out").metrics.groupby("view")["n"].max().to_dict()
    assert sizes == {"clean": 359, "fog@3": 10, "calibration": 1438}
    assert set(Report.read(desk / "out").recalibration["recalibrator"]) == {"temperature", "vector"}


def test_folders_and_equal_stems(desk: Path, command: Call, make_checkpoint: Call) -> None:
    (desk / "more").mkdir()
    make_checkpoint(desk / "more" / "net.safetensors", seed=1)
    assert command("eval", "net.safetensors", "more", "--suite", "tiny.toml", "--samples", "20").code == 0
    assert list(pd.read_csv("reports/tiny/table.csv")["model"]) == ["net", "more/net"]


def test_a_foreign_checkpoint_with_a_sidecar_or_with_flags(desk: Path, command: Call) -> None:
    torch.save({"state_dict": load_file(desk / "net.safetensors")}, desk / "theirs.pth")
    flags = ["--arch", "small-cnn", "--data", "digits", "--suite", "tiny.toml", "--samples", "20"]
    answer = command("eval", "theirs.pth", *flags, "--out", "flags")
    assert (answer.code, answer.err.count("\n")) == (0, 1)
    assert "no mean and std were given" in answer.err
    (desk / "theirs.pth.toml").write_text('arch = "small-cnn"\ndata = "digits"\nmean = [0.0]\nstd = [1.0]\n')
    answer = command("eval", "theirs.pth", *flags[4:], "--out", "sidecar")
    assert (answer.code, answer.err) == (0, "")
    frames = [Report.read(Path(name)).metrics for name in ("flags", "sidecar")]
    pd.testing.assert_frame_equal(*frames)


def test_a_factory_in_the_working_directory(desk: Path, command: Call) -> None:
    (desk / "factory_here.py").write_text(FACTORY)
    torch.save(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)).state_dict(), desk / "theirs.pth")
    options = ["--data", "digits", "--mean", "0", "--std", "1", "--suite", "tiny.toml"]
    answer = command("eval", "theirs.pth", "--arch", "python:factory_here.net", *options)
    assert (answer.code, answer.err) == (0, "")
    line = command("eval", "theirs.pth", "--arch", "python:factory_here.nett", *options, "--out", "other").line
    assert "did you mean 'net'?" in line
    sys.modules.pop("factory_here")


def test_nan_logits_fail_their_cells_and_the_run_goes_on(desk: Path, command: Call) -> None:
    (desk / "factory_nan.py").write_text(FACTORY)
    sys.path.append(str(desk))
    split, name = DATA.parse("digits").split("test"), "python:factory_nan.net(nan=True)"
    network = ARCHITECTURES.parse(name).initialised(split.shape, 10, 0)
    card = Card(architecture=name, classes=split.classes, shape=split.shape, data="digits")
    save(desk / "bad.safetensors", Classifier(network), card)
    (desk / "tiny.toml").write_text('samples = 60\nviews = [{specs = ["clean", "fgsm(eps=8/255)", "fog@3"]}]')
    answer = command("eval", "bad.safetensors", "net.safetensors", "--suite", "tiny.toml")
    assert answer.code == 1
    assert answer.err.splitlines()[0].startswith("bad, clean: logits: must be finite, but are NaN or infinite for ")
    assert len(answer.err.splitlines()) == 3
    table = pd.read_csv("reports/tiny/table.csv", index_col="model")
    assert set(table.loc["bad"]) == {"failed"}
    assert "failed" not in set(table.loc["net"])
    assert "- failed: bad, clean: logits: must be finite" in answer.out
    sys.modules.pop("factory_nan")


@pytest.fixture
def little_room() -> Iterator[Callable[[int], None]]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, ignored)


def test_a_full_disk_is_one_line_and_the_run_goes_on_later(
    desk: Path, command: Call, little_room: Callable[[int], None]
) -> None:
    line = ["eval", "net.safetensors", "--suite", "tiny.toml", "--out"]
    little_room(6_000)
    assert "cannot be written: the disk is full; what was finished before is kept" in command(*line, "full").line
    little_room(50_000_000)
    assert not [path for path in (desk / "full").rglob("*") if path.suffix == ".tmp"]
    assert command(*line, "full").code == 0
    command(*line, "roomy")
    assert (desk / "full" / "metrics.parquet").read_bytes() == (desk / "roomy" / "metrics.parquet").read_bytes()


def test_train_writes_the_named_files_and_nothing_else(desk: Path, command: Call) -> None:
    line = ["train", "--data", "digits", "--epochs", "1", "--device", "cpu"]
    answer = command(*line, "--variant", "erm,mixup(alpha=0.2),mixup(alpha=1.0),mixup", "--seeds", "0,0")
    names = ["erm-seed0", "mixup-alpha=0.2-seed0", "mixup-seed0"]
    files = [f"checkpoints/digits/{name}.safetensors" for name in names]
    assert (answer.code, answer.err) == (0, "")
    assert sorted(answer.out.splitlines()) == files
    curves = [f"checkpoints/digits/curves/{name}.{kind}" for name in names for kind in ("csv", "svg")]
    assert sorted(str(path.relative_to(desk)) for path in (desk / "checkpoints").rglob("*.*")) == curves + files
    card = read_card(desk / files[1])
    assert card is not None
    assert (card.variant, card.seed, card.data) == ("mixup(alpha=0.2)", 0, "digits")

    times = [(desk / file).stat().st_mtime_ns for file in files]
    answer = command(*line, "--variant", "erm")
    assert answer.out == f"{files[0]} exists with these settings\n"
    refused = command("train", "--data", "digits", "--epochs", "2", "--variant", "mixup(alpha=0.3),erm").line
    assert f"{files[0]} exists and was trained with other settings: name another folder with --out" in refused
    assert [(desk / file).stat().st_mtime_ns for file in files] == times
    assert len(list((desk / "checkpoints" / "digits").glob("*.*"))) == 3, "nothing is trained beside a refusal"


def test_train_again_gives_the_same_bytes(desk: Path, command: Call) -> None:
    line = ["train", "--data", "digits", "--epochs", "1", "--device", "cpu", "--variant", "erm", "--out"]
    assert command(*line, "a").code == command(*line, "b").code == 0
    first, second = (desk / folder / "erm-seed0.safetensors" for folder in "ab")
    assert first.read_bytes() == second.read_bytes()
    answer = command(*line, "c", "--seeds", "1,0", "--workers", "2")
    assert sorted(answer.out.splitlines()) == ["c/erm-seed0.safetensors", "c/erm-seed1.safetensors"]
    assert (desk / "c" / "erm-seed0.safetensors").read_bytes() == first.read_bytes()


def test_a_killed_training_goes_on_where_it_was(desk: Path, command: Call) -> None:
    line = ["train", "--data", "digits", "--epochs", "12", "--device", "cpu", "--variant", "mixup", "--out"]
    program = [Path(sys.executable).with_name("robusteval"), *line, "killed"]
    process = subprocess.Popen(program, cwd=desk, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    unfinished, curves = desk / "killed/.mixup-seed0.unfinished", desk / "killed/curves/mixup-seed0.csv"
    until = time.monotonic() + 60
    while not curves.exists() and time.monotonic() < until:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert unfinished.exists()
    assert not (desk / "killed/mixup-seed0.safetensors").exists()
    done = len(curves.read_text().splitlines()) - 1
    assert 1 <= done < 12
    assert command(*line, "killed").code == command(*line, "whole").code == 0
    assert not unfinished.exists()
    for name in ("mixup-seed0.safetensors", "curves/mixup-seed0.csv"):
        assert (desk / "killed" / name).read_bytes() == (desk / "whole" / name).read_bytes()


def test_one_failed_run_stops_no_other(desk: Path, command: Call) -> None:
    (desk / "wild.toml").write_text("epochs = 1\nbatch_size = 32\nlr = 1e30\nweight_decay = 0\n")
    answer = command("train", "--data", "digits", "--recipe", "wild.toml", "--variant", "erm", "--seeds", "0,1")
    assert answer.code == 1
    lines = answer.err.splitlines()
    assert [line.split(": ")[1] for line in lines] == ["erm seed 0", "erm seed 1"]
    assert all("training diverged at step" in line for line in lines)
    assert not list((desk / "checkpoints").rglob("*.safetensors"))


def torchrun(desk: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`robusteval train` on the digits in two processes."""
    program = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", "--no-python"]
    line = ["robusteval", "train", "--data", "digits", "--epochs", "2", "--cache", "cache", *arguments]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    return subprocess.run(
        [*program, *line], cwd=desk, capture_output=True, text=True, check=False, env=environment, timeout=120
    )


def test_torchrun_shares_the_batches(desk: Path, command: Call) -> None:
    """Two processes fit one part and leave one checkpoint, which one process does not take for its own."""
    done = torchrun(desk, "--variant", "kmixup,genlabel(warmup=1)", "--out", "both")
    assert done.returncode == 0, done.stderr
    names = ["genlabel-warmup=1-seed0.safetensors", "kmixup-seed0.safetensors"]
    assert sorted(path.name for path in (desk / "both").glob("*.safetensors")) == names
    assert sorted(path.name.split("-")[0] for path in (desk / "cache").iterdir()) == ["class", "erm"]
    card = read_card(desk / "both" / names[1])
    assert card is not None
    assert card.processes == 2
    assert card.validation is not None
    assert card.validation["accuracy"] > 0.4
    alone = command("train", "--data", "digits", "--epochs", "2", "--variant", "kmixup", "--out", "both")
    assert "was trained with other settings" in alone.line


def test_torchrun_ends_where_one_process_fails(desk: Path) -> None:
    (desk / "both").mkdir()
    (desk / "both" / "curves").touch()
    done = torchrun(desk, "--variant", "erm,mixup", "--out", "both")
    assert done.returncode == 1
    assert "robusteval: erm seed 0: both/curves/erm-seed0.csv cannot be written" in done.stderr
    assert not list((desk / "both").glob("*.safetensors"))


def test_a_long_run_on_a_terminal_shows_a_readable_table(
    desk: Path, command: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy("net.safetensors", "net[bold].safetensors")
    command("eval", "net[bold].safetensors", "--suite", "tiny.toml", "--out", "out")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    answer = command("report", "out")
    plain = re.sub(r"\x1b\[[\d;]*m", "", answer.out)
    assert "net[bold]" in plain
    assert "---:" not in plain
    assert max(map(len, plain.splitlines())) <= 100
