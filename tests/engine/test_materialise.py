"""Sets written to disk: the pixels of a view, whole or not there, and a killed run goes on."""

import json
import tracemalloc
from contextlib import nullcontext, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import robusteval
from robusteval.core.errors import DataError, InputError
from robusteval.corruptions import CORRUPTIONS
from robusteval.data import Split
from robusteval.data.official import MANIFEST, OfficialSet
from robusteval.engine import materialise
from robusteval.engine.materialise import Materialise, chosen, run

ROWS = torch.arange(70)
IMAGES = (ROWS[:, None, None, None] * 3 + torch.arange(192).reshape(3, 8, 8)).remainder(256).to(torch.uint8)
COLOUR = Split.of(IMAGES, ROWS % 4, ("ant", "bee", "cat", "dog"))
GREY = Split.of(IMAGES[:, :1], ROWS % 4, COLOUR.classes)


@pytest.fixture(autouse=True)
def _short_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(materialise, "SHARD", 30)


class KilledError(Exception):
    """What a test ends a run with."""


def job(
    folder: Path, split: Split = COLOUR, names: str = "fog contrast", severities: Any = None, **more: Any
) -> Materialise:
    return Materialise(split, chosen(map(CORRUPTIONS.parse, names.split()), severities), folder, **more)


def written(one: Materialise, after: int = 10**9) -> list[int]:
    """Run a job, to the end or until some shards were made; the numbers are those of all and of finished shards."""
    told: list[int] = []
    made = []

    def step() -> None:
        made.append(1)
        if len(made) == after:
            raise KilledError

    def bar(total: int, done: int) -> Any:
        told.extend((total, done))
        return nullcontext(SimpleNamespace(update=step))

    with suppress(KilledError):
        list(run(one, bar))
    return [*told, len(made)]


def back(folder: Path, split: Split, name: str, severity: int, severities: int = 5) -> torch.Tensor:
    return OfficialSet(folder, split).view(name, severity, severities).images(slice(0, len(split)))


@pytest.mark.parametrize("split", [COLOUR, GREY], ids=["colour", "grey"])
@pytest.mark.parametrize("pictures", [False, True])
@pytest.mark.parametrize("severities", [None, (2, 5)])
def test_what_is_read_back_is_what_is_generated(tmp_path, split, pictures, severities):
    written(job(tmp_path, split, severities=severities, pictures=pictures, seed=3))
    for name in ("fog", "contrast"):
        for severity in severities or (1, 3, 5):
            expected = robusteval.corrupt(split.images, name, severity, seed=3)
            assert torch.equal(back(tmp_path, split, name, severity), expected / 255)
    assert OfficialSet(tmp_path, split).origin == "generated"
    assert not [path.name for path in tmp_path.rglob(".*")]


def test_arrays_have_the_layout_of_cifar_10_c(tmp_path):
    written(job(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["contrast.npy", "fog.npy", "labels.npy", MANIFEST]
    assert np.load(tmp_path / "fog.npy").shape == (350, 8, 8, 3)
    assert np.load(tmp_path / "labels.npy").tolist() == COLOUR.labels.repeat(5).tolist()


def test_samples_keep_their_ids(tmp_path):
    part = COLOUR.rows(torch.arange(5, 70, 3))
    written(job(tmp_path, part, severities=(4,)))
    expected = robusteval.corrupt(COLOUR.images, "fog", 4) / 255
    assert torch.equal(back(tmp_path, part, "fog", 4), expected[5:70:3])
    assert torch.equal(back(tmp_path, part.first(4), "fog", 4), expected[5:17:3])


def test_mnist_c_has_one_severity(tmp_path):
    written(job(tmp_path, GREY, "fog(family='mnist-c') zigzag"))
    assert torch.equal(back(tmp_path, GREY, "fog", 1, 1), robusteval.corrupt(GREY.images, "fog", 1, "mnist-c") / 255)
    assert np.load(tmp_path / "labels.npy").shape == (70,)


def test_names_that_are_no_folders_become_numbers(tmp_path):
    odd = Split(COLOUR.images, COLOUR.labels, COLOUR.ids, ("a/b", ".c", "d", "e"))
    written(job(tmp_path, odd, "contrast", (1,), pictures=True))
    assert torch.equal(back(tmp_path, odd, "contrast", 1), robusteval.corrupt(odd.images, "contrast", 1) / 255)


@pytest.mark.parametrize("pictures", [False, True])
@pytest.mark.parametrize("after", [1, 4, 17])
def test_a_killed_run_goes_on(tmp_path, pictures, after):
    assert written(job(tmp_path / "whole", pictures=pictures)) == [30, 0, 30]
    assert written(job(tmp_path / "cut", pictures=pictures), after) == [30, 0, after]
    for path in (tmp_path / "cut").rglob("*"):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(tmp_path).parts):
            assert path.read_bytes() == (tmp_path / "whole" / path.relative_to(tmp_path / "cut")).read_bytes()
    assert written(job(tmp_path / "cut", pictures=pictures)) == [30, after, 30 - after]
    assert written(job(tmp_path / "cut", pictures=pictures)) == [30, 30, 0]
    wholes, cuts = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "whole", tmp_path / "cut")
    )
    assert cuts == wholes


def test_a_set_grows(tmp_path):
    assert written(job(tmp_path)) == [30, 0, 30]
    assert written(job(tmp_path, names="fog contrast brightness")) == [45, 30, 15]
    assert set(json.loads((tmp_path / MANIFEST).read_text())["corruptions"]) == {"fog", "contrast", "brightness"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": 1}, "holds a set with another seed"),
        ({"split": GREY}, "holds a set with another data"),
        ({"names": "fog(family='imagenet')"}, "holds a set with another family of fog"),
        ({"pictures": True}, "holds a set with another layout"),
    ],
)
def test_other_settings_need_another_folder(tmp_path, changes, said):
    written(job(tmp_path, severities=(1,)))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(DataError, match=said):
        written(job(tmp_path, **changes))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_an_official_set_is_not_added_to(tmp_path):
    (tmp_path / "fog.npy").write_bytes(b"")
    with pytest.raises(DataError, match="the folder is not empty and no set made here: name another"):
        written(job(tmp_path))
    (tmp_path / MANIFEST).write_text("[]")
    with pytest.raises(DataError, match=r"robusteval\.json is damaged"):
        written(job(tmp_path))


def test_a_full_disk_is_said_in_one_line(tmp_path, monkeypatch):
    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(
        DataError, match=r"fog\.npy cannot be written: No space left on device; what was finished"
    ) as caught:
        written(job(tmp_path))
    assert not (tmp_path / "fog.npy").exists()
    assert "\n" not in str(caught.value)


def test_bad_input_is_said_before_anything_is_written(tmp_path):
    vectors = Split.of(torch.zeros(4, 3, 1, 1), ROWS[:4])
    with pytest.raises(InputError, match="corruptions are of grey or colour images"):
        job(tmp_path / "set", vectors)
    with pytest.raises(InputError, match=r"severities=6: fog has the severities 1\.\.5"):
        job(tmp_path / "set", severities=(5, 6))
    assert not (tmp_path / "set").exists()


def test_no_more_than_a_shard_is_in_memory(tmp_path):
    """numpy's own allocations are traced; the set is 20 shards of 45 kB."""
    split = Split.of(torch.zeros(600, 3, 16, 32, dtype=torch.uint8), torch.zeros(600, dtype=torch.int64))
    written(job(tmp_path, split, "contrast", (1,)), 1)
    tracemalloc.start()
    written(job(tmp_path, split, "contrast", (1,)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 600 * 3 * 16 * 32 / 2
