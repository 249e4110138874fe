"""The key of a cell: everything that its rows depend on."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from robusteval.data import DATA
from robusteval.engine.plan import Settings, cells
from robusteval.engine.sources import DataSource, ModelSource
from robusteval.engine.suite import Group, Suite
from robusteval.models import ARCHITECTURES
from robusteval.models.checkpoint import Card, load, save
from robusteval.models.classifier import Classifier

Measure = Callable[..., pd.DataFrame]


def stored(path: Path, seed: int) -> Path:
    """A network with its starting weights."""
    split = DATA.parse("digits").split("test")
    network = ARCHITECTURES.parse("small-cnn").initialised(split.shape, len(split.classes), seed)
    save(path, Classifier(network), Card(architecture="small-cnn", classes=split.classes, shape=split.shape))
    return path


def test_a_file_that_a_view_reads_is_in_its_key(tmp_path: Path) -> None:
    """A source of transfer that is trained anew gives new rows; the other views keep theirs."""
    loaded, split = load(stored(tmp_path / "model.safetensors", 0)), DATA.parse("digits").split("test")
    other = stored(tmp_path / "other.safetensors", 1)
    suite = Suite(name="t", views=(Group(specs=("clean", f"transfer(eps=8/255, source={str(other)!r})")),), samples=20)
    model = ModelSource("m", DataSource("digits"), loaded=loaded)

    def keys() -> list[str]:
        return [cell.key for cell in cells(suite, [(model, loaded, split)], Settings())]

    first = keys()
    assert keys() == first
    stored(other, 2)
    second = keys()
    assert (second[0], second[1] == first[1]) == (first[0], False)
    stored(other, 1)
    assert keys() == first


def test_a_run_measures_again_what_read_another_file(home: Path, measure: Measure, tmp_path: Path) -> None:
    source = tmp_path / "source.safetensors"
    source.write_bytes((home / "erm-seed1.safetensors").read_bytes())
    suite = tmp_path / "carried.toml"
    suite.write_text(
        f'samples = 40\n[[views]]\nspecs = ["""transfer(eps=32/255, steps=4, source={str(source)!r})"""]\n'
    )
    found = []
    for seed in (1, 1, 0):
        source.write_bytes((home / f"erm-seed{seed}.safetensors").read_bytes())
        one = {"suite": suite, "checkpoints": (home / "erm-seed0.safetensors",)}
        metrics = measure(tmp_path / "report", **one).set_index("metric")
        found.append((metrics.loc["accuracy", "cell"], metrics.loc["accuracy", "value"]))
    assert found[0] == found[1] != found[2]
    assert found[2][1] < found[0][1]  # its own twin carries over best
