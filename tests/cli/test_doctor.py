"""`robusteval doctor`: what it prints, and its exit codes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

Call = Callable[..., Any]

BUNDLED = Path(__file__).parents[2] / "checkpoints" / "fashion-mnist" / "erm-seed0.safetensors"
FOREIGN = ("--arch", "small-cnn", "--data", "fashion-mnist")
FEW = ("--samples", "64", "--eps", "4/255")


@pytest.fixture
def stranger(desk: Path) -> Path:
    """A bundled checkpoint without its card."""
    torch.save(load_file(BUNDLED), desk / "net.pth")
    return desk / "net.pth"


def test_nothing_is_wrong(command: Call) -> None:
    answer = command("doctor", BUNDLED, *FEW)
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert lines[0] == "| attack | images | left | right (%) | seconds |"
    assert lines[2].startswith("| clean | 64 |")
    assert any(line.startswith("| PGD: pgd(eps=4/255) | 64 |") for line in lines)
    assert lines[-1] == f"{BUNDLED}: nothing is wrong."
    assert not any(line.startswith(("error", "warning")) for line in lines)


def test_a_stranger_with_its_normalisation(command: Call, stranger: Path) -> None:
    answer = command("doctor", stranger, *FOREIGN, "--mean", "0.2861", "--std", "0.3531", *FEW)
    assert answer.code == 0, answer.out


def test_a_stranger_without_its_normalisation(command: Call, stranger: Path) -> None:
    answer = command("doctor", stranger, *FOREIGN, *FEW)
    assert (answer.code, answer.err) == (1, "")
    (line,) = [line for line in answer.out.splitlines() if line.startswith("error   normalisation: ")]
    assert "Normalisation is missing" in line
    assert line.endswith("Describe the checkpoint with --mean 0.286 --std 0.353.")
    assert answer.out.splitlines()[-1] == f"{stranger}: 2 errors."


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("none.pth",), "there is no such file or folder"),
        (("net.pth",), "is not a robusteval checkpoint"),
        ((BUNDLED, "--eps", "8"), "write eps=8/255, not eps=8"),
        ((BUNDLED, "--eps", "a lot"), "a lot"),
        ((BUNDLED, "--norm", "l3"), "norm='l3': must be linf, l2 or l1"),
        ((BUNDLED, "--samples", "0"), "must be a number of at least 1, or 'all'"),
        ((BUNDLED, "--mean", "0.5"), "says its own: leave it out"),
        ((BUNDLED.parent,), "must be one file, and the folder has"),
    ],
)
@pytest.mark.usefixtures("stranger")
def test_bad_input(command: Call, arguments: tuple[object, ...], said: str) -> None:
    assert said in command("doctor", *arguments).line


def test_help(command: Call) -> None:
    answer = command("doctor", "--help")
    assert (answer.code, answer.err) == (0, "")
    assert "doctor" in command("--help").out
