import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from robusteval.cli import main
from robusteval.data import DATA
from robusteval.models import ARCHITECTURES
from robusteval.models.checkpoint import Card, save
from robusteval.models.classifier import Classifier

SUITE = """\
samples = 60
checkpoints = ["*.safetensors"]
[[views]]
specs = ["clean", "fgsm(eps=8/255)", "fog@3"]
[[views]]
specs = ["linearity"]
samples = 10
"""


class Answer(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The one line that bad input is answered with."""
        lines = self.err.splitlines()
        assert self.code == 2, self
        assert len(lines) == 1, self
        assert lines[0].startswith("robusteval: ")
        assert self.out == ""
        return lines[0]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """The command line, called in this process."""
    monkeypatch.setattr(sys, "path", list(sys.path))

    def call(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["robusteval", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        return Answer(int(end.value.code or 0), *capfd.readouterr())

    return call


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a checkpoint and a suite; runs are serial and on the CPU."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("robusteval.engine.processes.default_workers", lambda _: 1)
    monkeypatch.setattr("robusteval.cli.train.default_workers", lambda _: 1)
    checkpoint(tmp_path / "net.safetensors")
    (tmp_path / "tiny.toml").write_text(SUITE)
    return tmp_path


@pytest.fixture(scope="session")
def make_checkpoint() -> Callable[..., Path]:
    return checkpoint


@pytest.fixture(scope="session")
def make_npz() -> Callable[..., str]:
    return archive


def checkpoint(path: Path, arch: str = "small-cnn", data: str = "digits", seed: int = 0) -> Path:
    split = DATA.parse(data).split("test")
    network = ARCHITECTURES.parse(arch).initialised(split.shape, len(split.classes), seed)
    card = Card(architecture=arch, classes=split.classes, shape=split.shape, data=data, variant="erm", seed=seed)
    save(path, Classifier(network), card)
    return path


def archive(path: Path, shape: tuple[int, ...] = (8, 8), classes: int = 10, high: int = 255, **arrays: object) -> str:
    """A data spec of random images in an npz archive."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, high + 1, (40, *shape)).astype(np.uint8)
    np.savez(path, **{"x_test": images, "y_test": np.arange(40) % classes, **arrays})
    return f"npz(path={os.fspath(path)!r})"
