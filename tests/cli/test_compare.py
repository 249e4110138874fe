import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

Call = Callable[..., Any]
COMMITTED = Path(__file__).parents[2] / "reports" / "fashion-mnist"


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The committed report cut down to six checkpoints."""
    folder = tmp_path_factory.mktemp("two") / "report"
    folder.mkdir()
    shutil.copy(COMMITTED / "run.json", folder)
    (folder / "samples").symlink_to(COMMITTED / "samples")
    for name in ("metrics", "cells"):
        frame = pd.read_parquet(COMMITTED / f"{name}.parquet")
        frame[frame["model"].str.match(r"(erm|mixup)-seed")].to_parquet(folder / f"{name}.parquet")
    return folder


def test_the_table_is_printed(two: Path, command: Call) -> None:
    answer = command("compare", two, "--baseline", "erm")
    assert (answer.code, answer.err) == (0, "")
    assert "| erm | 3 | **93.1 ±0.4** |" in answer.out
    assert "| mixup | 3 | -1.6 [" in answer.out
    assert "- Not in the record: AutoAttack." in answer.out


def test_a_terminal_shows_styles(two: Path, command: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "160")
    answer = command("compare", two, "--columns", "clean,ece", "--intervals")
    assert "\x1b[1m93.1 ±0.4 [92.1, 94.1]\x1b[0m" in answer.out.replace("\x1b[22m", "\x1b[0m")
    assert "| ---" not in answer.out


@pytest.mark.parametrize("suffix", ["md", "tex", "csv", "parquet", "html", "json"])
def test_the_suffix_of_the_file_decides_the_form(two: Path, command: Call, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / "new" / f"table.{suffix}"
    answer = command("compare", two, "--columns", "clean", "--by", "checkpoint", "--out", out)
    assert (answer.code, answer.out) == (0, f"written: {out}\n")
    assert b"erm-seed0" in out.read_bytes()
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_forms_are_printed(two: Path, command: Call) -> None:
    assert json.loads(command("compare", two, "--columns", "ece", "--format", "json").out)["rows"]
    assert r"\toprule" in command("compare", two, "--preset", "accuracy", "--format", "latex").out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--columns", "claen"), "columns='claen': no view or metric of the report; did you mean 'clean'"),
        (("--columns", ","), "columns=',': names none"),
        (("--columns", "clean", "--preset", "paper"), "preset='paper': does not go with --columns"),
        (("--preset", "paperr"), "preset='paperr': did you mean 'paper'"),
        (("--baseline", "mixap"), "baseline='mixap': no row of the table; did you mean 'mixup'"),
        (("--by", "variants"), "by='variants': did you mean 'variant'"),
        (("--format", "parquet"), "format='parquet': needs a file: name it with --out"),
        (("--format", "latx"), "format='latx': did you mean 'latex'"),
        (("--out", "/proc/none/table.md"), "/proc/none/table.md cannot be written"),
    ],
)
def test_bad_input_is_one_line(two: Path, command: Call, arguments: tuple[str, ...], said: str) -> None:
    assert said in command("compare", two, *arguments).line


def test_bad_records_are_one_line(two: Path, command: Call, tmp_path: Path) -> None:
    assert "is not a report folder" in command("compare", two, tmp_path / "none").line
    bad = tmp_path / "bad"
    shutil.copytree(two, bad, ignore=shutil.ignore_patterns("samples"))
    run, whole = json.loads((bad / "run.json").read_text()), (bad / "metrics.parquet").read_bytes()
    (bad / "metrics.parquet").write_bytes(whole[:-100])
    assert "metrics.parquet is damaged" in command("compare", bad).line
    (bad / "metrics.parquet").write_bytes(whole)
    assert "is missing: its run did not end" in command("compare", bad, "--by", "checkpoint").line
    (bad / "run.json").write_text(json.dumps({**run, "format": 0}))
    assert "has report format 0" in command("compare", bad).line
    (bad / "run.json").write_text(json.dumps({**run, "seed": 7}))
    assert f"not comparable: seed is 0 in {two} and 7 in {bad}" in command("compare", two, bad).line
    cells = pd.read_parquet(bad / "cells.parquet")
    cells.assign(data="0" * 64).to_parquet(bad / "cells.parquet")
    (bad / "run.json").write_text(json.dumps(run))
    assert "not comparable: data digest is 9f900bdc3180003f in" in command("compare", two, bad).line
