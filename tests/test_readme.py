"""The README is true: every command in it runs as it stands, but those in a block marked long."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^(?P<mark><!-- long -->\n)?```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
SET_UP = 'pip install -e ".[dev]" && '


def blocks(language: str) -> list[str]:
    text = (ROOT / "README.md").read_text()
    return [match["text"] for match in BLOCK.finditer(text) if match["language"] == language and not match["mark"]]


def commands() -> list[str]:
    lines = [line for text in blocks("bash") for line in text.replace("\\\n", "").splitlines() if line]
    return [line.removeprefix(SET_UP) for line in lines]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like the checkout, so that what the commands write does not land in it."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "checkpoints").mkdir()
    (folder / "reports").mkdir()
    (folder / "checkpoints/fashion-mnist").symlink_to(ROOT / "checkpoints/fashion-mnist")
    return folder


def run(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False)


def test_two_set_up_lines() -> None:
    lines = [line for text in blocks("bash") for line in text.splitlines() if line.startswith("pip")]
    assert lines == [f"{SET_UP}robusteval eval", f"{SET_UP}pytest"]


def test_commands(copy: Path) -> None:
    """One after another in one checkout, as some read what others wrote; the second set-up line is this very run."""
    environment = f'export PATH="{Path(sys.executable).parent}:$PATH" && '
    for command in commands():
        if command != "pytest":
            done = run(["bash", "-c", environment + command], copy)
            assert done.returncode == 0, (command, done.stderr)
            look(command, copy)


def look(command: str, copy: Path) -> None:
    """What some commands must have left."""
    if command.startswith("robusteval train"):
        assert len(list((copy / "checkpoints/digits").glob("*.safetensors"))) == 14
    if command == "robusteval eval":
        table = (copy / "reports/quick/table.md").read_text()
        assert all(f"{variant}-seed{seed} |" in table for variant in ("erm", "mixup") for seed in range(3))
        assert all(word in table for word in ("clean", "fgsm", "pgd", "fog@3", "ece", "gamma"))


@pytest.mark.parametrize("code", blocks("python"))
def test_python(code: str, copy: Path) -> None:
    done = run([sys.executable, "-c", code], copy)
    assert done.returncode == 0, done.stderr
