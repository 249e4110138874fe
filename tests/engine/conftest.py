import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

from robusteval.data import DATA
from robusteval.engine import suite as suites
from robusteval.engine.executor import Executor
from robusteval.engine.plan import Settings
from robusteval.engine.run import Run
from robusteval.engine.serial import Serial
from robusteval.engine.sources import DataSource, ModelSource, labels
from robusteval.models import ARCHITECTURES
from robusteval.models.checkpoint import save
from robusteval.models.foreign import Description
from robusteval.models.loading import describe
from robusteval.training import Recipe, Training
from robusteval.variants import VARIANTS

SUITE = """
[[views]]
specs = ["clean", "pgd(eps=16/255, steps=3, restarts=2)", "fog@2"]

[[views]]
specs = ["linearity(steps=2)"]
samples = 40
"""

Measure = Callable[..., pd.DataFrame]


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 1,040 digits as test images, which are two shards, a suite, and two briefly trained networks."""
    folder = tmp_path_factory.mktemp("home")
    scans = load_digits()
    images, y = np.rint(scans.images[:1040] * (255 / 16)).astype(np.uint8), scans.target[:1040]
    np.savez(folder / "digits.npz", x_train=images[:1024], y_train=y[:1024], x_test=images, y_test=y)
    (folder / "views.toml").write_text(SUITE)
    data = DATA.parse(f"npz(path={str(folder / 'digits.npz')!r})")
    recipe = Recipe(epochs=1, batch_size=64, lr=0.1)
    for seed in (0, 1):
        training = Training(VARIANTS.parse("erm"), data, ARCHITECTURES.parse("small-cnn"), recipe, seed)
        save(folder / f"erm-seed{seed}.safetensors", *training.run()[:2])
    return folder


@pytest.fixture(scope="session")
def measure(home: Path) -> Measure:
    """Run a suite on checkpoints of `home` into a report folder; what was warned of is added to `said`."""

    def run(
        folder: Path,
        executor: Executor | None = None,
        *,
        suite: Path = home / "views.toml",
        checkpoints: tuple[Path, ...] = (home / "erm-seed0.safetensors", home / "erm-seed1.safetensors"),
        samples: int | None = None,
        said: list[str] | None = None,
        settings: Settings | None = None,
    ) -> pd.DataFrame:
        sources = []
        for path, label in zip(checkpoints, labels(list(checkpoints)), strict=True):
            described = describe(path, Description())
            sources.append(ModelSource(label, DataSource(str(described.data)), path, described))
        job = Run(suites.load(str(suite)), sources, settings or Settings(), executor or Serial(), samples)
        return job.into(folder, ([] if said is None else said).append)

    return run


@pytest.fixture(scope="session")
def reference(measure: Measure, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("reference") / "report"
    measure(folder)
    return folder


@pytest.fixture(scope="session")
def record() -> Callable[[Path], dict[str, bytes]]:
    """The bytes of all files that two equal runs must share: everything but provenance and timings."""

    def read(folder: Path) -> dict[str, bytes]:
        files = (Path(place) / name for place, _, names in os.walk(folder) for name in names)
        found = {str(file.relative_to(folder)): file.read_bytes() for file in files}
        return {name: content for name, content in found.items() if name not in ("run.json", "timings.parquet")}

    return read
