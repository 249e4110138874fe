import json
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from robusteval.core.errors import InputError
from robusteval.data import DATA
from robusteval.engine.plan import Settings, cells, missing
from robusteval.engine.sources import DataSource, ModelSource
from robusteval.engine.suite import Group, Suite
from robusteval.models import ARCHITECTURES
from robusteval.models.checkpoint import Card, load, save
from robusteval.models.classifier import Classifier
from robusteval.results.report import Report
from robusteval.results.store import Store

Measure = Callable[..., pd.DataFrame]

FRAGILE = """
import torch

LIMIT = 0.3

class Fragile(torch.nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.linear = torch.nn.Linear(64, classes)

    def forward(self, x):
        bright = x.mean(dim=(1, 2, 3)) > LIMIT
        return torch.where(bright[:, None], torch.nan, self.linear(x.flatten(1)))
"""


@pytest.fixture
def fragile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A checkpoint whose network answers bright images with NaN."""
    (tmp_path / "fragile_network.py").write_text(FRAGILE)
    monkeypatch.syspath_prepend(tmp_path)
    split, name = DATA.parse("digits").split("test"), "python:fragile_network.Fragile"
    network = ARCHITECTURES.parse(name).initialised(split.shape, len(split.classes), 0)
    card = Card(architecture=name, classes=split.classes, shape=split.shape, data="digits")
    save(tmp_path / "fragile.safetensors", Classifier(network), card)
    yield tmp_path / "fragile.safetensors"
    sys.modules.pop("fragile_network", None)


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    split = DATA.parse("digits").split("test")
    network = ARCHITECTURES.parse("small-cnn").initialised(split.shape, len(split.classes), 0)
    card = Card(architecture="small-cnn", classes=split.classes, shape=split.shape, data="digits")
    save(tmp_path / "sound.safetensors", Classifier(network), card)
    return tmp_path / "sound.safetensors"


def views(folder: Path, *specs: str) -> Path:
    file = folder / "views.toml"
    file.write_text(f"views = [{{specs = {list(specs)!r}}}]")
    return file


def test_a_failed_cell_is_a_row_and_is_tried_again(
    measure: Measure, fragile: Path, sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    suite = views(tmp_path, "clean", "fgsm(eps=8/255)", "fog@3")
    frame = measure(tmp_path / "report", suite=suite, checkpoints=(fragile, sound), said=said)
    failed = frame[frame["error"].notna()]
    assert list(failed["model"]) == ["fragile"] * 3
    assert failed["error"].str.contains("must be finite, but are NaN or infinite for .* of 359 images").all()
    assert failed[["value", "low", "high", "metric"]].isna().all(axis=None)
    assert list(failed["n"]) == [359] * 3
    assert frame[frame["model"].eq("sound")]["error"].isna().all()
    assert [line.splitlines()[0].split(":")[0] for line in said] == [f"fragile, {view}" for view in failed["view"]]
    assert all(len(line.splitlines()) == 1 for line in said), "no traceback: the user can mend it"
    monkeypatch.setattr(sys.modules["fragile_network"], "LIMIT", 2.0)
    assert measure(tmp_path / "report", suite=suite, checkpoints=(fragile, sound))["error"].isna().all()


def test_the_error_of_a_cell_is_that_of_its_first_failed_shard(
    measure: Measure, fragile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("robusteval.engine.plan.SHARD", 100)
    frame = measure(tmp_path / "report", suite=views(tmp_path, "clean"), checkpoints=(fragile,))
    assert frame["error"].str.endswith("of 100 images").tolist() == [True]


def test_a_cell_without_any_value_is_a_row_that_says_so(
    measure: Measure, fragile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("robusteval.engine.summary.Summary._estimates", lambda *_: {})
    frame = measure(tmp_path / "report", suite=views(tmp_path, "linearity"), checkpoints=(fragile,), samples=20)
    assert len(frame) == 1
    assert frame["error"].notna().all()


def test_a_bug_shows_its_traceback_and_leaves_one_line(
    measure: Measure, fragile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("robusteval.probes.clean.Clean.measure", lambda *_: [][0])
    said: list[str] = []
    frame = measure(tmp_path / "report", suite=views(tmp_path, "clean"), checkpoints=(fragile,), said=said)
    assert frame["error"].tolist() == ["IndexError: list index out of range"]
    assert "Traceback" in said[0]


def test_equal_weights_under_two_names_are_worked_once_and_give_two_rows(
    measure: Measure, sound: Path, tmp_path: Path
) -> None:
    twin = shutil.copy(sound, tmp_path / "twin.safetensors")
    frame = measure(tmp_path / "report", suite=views(tmp_path, "clean"), checkpoints=(sound, Path(twin)))
    assert list(dict.fromkeys(frame["model"])) == ["sound", "twin"]
    assert len(list((tmp_path / "report" / "samples").iterdir())) == 1
    sides = [frame[frame["model"].eq(name)].drop(columns="model").reset_index(drop=True) for name in ("sound", "twin")]
    pd.testing.assert_frame_equal(*sides)
    assert Report.read(tmp_path / "report").samples["model"].value_counts().to_dict() == {"sound": 359, "twin": 359}


def test_files_that_differ_in_their_suffix_alone_are_two_models(measure: Measure, home: Path, tmp_path: Path) -> None:
    own, other = (load(home / f"erm-seed{seed}.safetensors") for seed in (0, 1))
    paths = (tmp_path / "net.safetensors", tmp_path / "net.pth")
    shutil.copy(home / "erm-seed0.safetensors", paths[0])
    torch.save(other.model.network.state_dict(), paths[1])
    facts = {"arch": "small-cnn", "data": own.card.data, "mean": list(own.card.mean), "std": list(own.card.std)}
    (tmp_path / "net.pth.toml").write_text("\n".join(f"{key} = {json.dumps(value)}" for key, value in facts.items()))
    suite = views(tmp_path, "clean")
    frame = measure(tmp_path / "report", suite=suite, checkpoints=paths, samples=300)
    expected = measure(tmp_path / "expected", suite=suite, samples=300)
    assert list(dict.fromkeys(frame["model"])) == ["net.safetensors", "net.pth"]
    assert frame["value"].tolist() == expected["value"].tolist()


def test_batch_sizes_give_the_same_verdicts(measure: Measure, tmp_path: Path) -> None:
    frames = []
    for rows in (7, 256):
        measure(tmp_path / str(rows), samples=120, settings=Settings(batch_size=rows))
        frames.append(Report.read(tmp_path / str(rows)))
    few, many = frames
    for column in ("sample", "label", "prediction", "correct"):
        pd.testing.assert_series_equal(few.samples[column], many.samples[column])
    numbers = ["value", "low", "high"]
    np.testing.assert_allclose(few.metrics[numbers], many.metrics[numbers], atol=1e-4)
    assert few.metrics["cell"].tolist() == many.metrics["cell"].tolist()


def test_the_seed_reaches_every_random_view(measure: Measure, home: Path, tmp_path: Path) -> None:
    frames = {}
    for seed in (0, 1):
        measure(tmp_path / str(seed), samples=64, settings=Settings(seed=seed))
        frames[seed] = Report.read(tmp_path / str(seed)).samples
    same = frames[0].groupby("view")["nll"].apply(list) == frames[1].groupby("view")["nll"].apply(list)
    assert same.drop("linearity(steps=2)").to_dict() == {
        "clean": True,
        "fog@2": False,
        "pgd(eps=16/255, steps=3, restarts=2)": False,
    }


def test_tasks_come_view_by_view_and_shard_by_shard(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = DATA.parse("digits").split("test")
    monkeypatch.setattr("robusteval.engine.plan.SHARD", 200)
    models = []
    for seed in (0, 1):
        found = load(home / f"erm-seed{seed}.safetensors")
        models.append((ModelSource(str(seed), DataSource("digits")), found, split))
    suite = Suite(name="tiny", views=(Group(specs=("clean", "fog@1")),))
    tasks = missing(cells(suite, models, Settings()), Store(tmp_path))
    assert [(task.cell.probe.spec, task.shard, task.cell.source.label) for task in tasks] == [
        (view, shard, model) for view in ("clean", "fog@1") for shard in (0, 1) for model in ("0", "1")
    ]


def test_rows_without_logits_do_not_serve_where_they_are_kept(home: Path) -> None:
    split = DATA.parse("digits").split("test")
    found = load(home / "erm-seed0.safetensors")
    suite = Suite(name="tiny", views=(Group(specs=("clean",)),))

    def key(classes: int, keep: bool) -> str:
        card = found.card.model_copy(update={"classes": tuple(map(str, range(classes)))})
        model = (ModelSource("net", DataSource("digits")), type(found)(found.model, card, found.digest), split)
        return cells(suite, [model], Settings(keep_logits=keep))[0].key

    assert key(10, keep=True) == key(10, keep=False)
    assert key(101, keep=True) != key(101, keep=False)


@pytest.mark.parametrize("wrong", [{"device": "gpu"}, {"threads": 0}, {"batch_size": 0}])
def test_settings_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        Settings(**wrong)


def test_a_family_meant_for_another_size_is_said_once(measure: Measure, home: Path, tmp_path: Path) -> None:
    (tmp_path / "sized.toml").write_text(
        '[[views]]\nspecs = ["fog@2", "fog(family=\'imagenet\')@2", "fog(family=\'imagenet\')@3"]\n'
    )
    said: list[str] = []
    measure(tmp_path / "report", suite=tmp_path / "sized.toml", samples=4, said=said)
    assert said == ["fog(family='imagenet'): the constants of imagenet are not meant for images of 8 px; cifar's are"]


def test_the_record_names_the_library_that_encodes_jpeg(reference: Path) -> None:
    versions = json.loads((reference / "run.json").read_text())["versions"]
    assert versions["pillow"] == version("pillow")
