import json
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from robusteval.core.errors import RecordError
from robusteval.core.types import Predictions
from robusteval.results import files
from robusteval.results.schema import METRIC_COLUMNS, metric_frame, own_columns, prediction_frame, predictions_of
from robusteval.results.store import Facts, Store

KEY = "0123456789abcdef" * 4


def rows(n: int, start: int = 0) -> pd.DataFrame:
    return pd.DataFrame({"sample": np.arange(start, start + n), "label": 0, "gamma": np.linspace(0, 1, n)})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.opened(tmp_path / "report", {"suite": "tiny"})


def test_shards_join_in_order_with_their_facts(store: Store) -> None:
    store.write_shard(KEY, 1, rows(2, 3), Facts(20, 2, {"b": (1, 4), "a": (2, 2)}, ("later", "note")))
    assert not store.has_shard(KEY, 0)
    store.write_shard(KEY, 0, rows(3), Facts(10, 1, {"b": (3, 8)}, ("note",)))
    assert not store.has(KEY)
    store.finish(KEY, 2)
    frame, facts = store.read(KEY)
    assert frame["sample"].tolist() == [0, 1, 2, 3, 4]
    assert facts == Facts(30, 3, {"a": (2, 2), "b": (4, 12)}, ("later", "note"))
    assert sorted(path.name for path in store.folder.iterdir()) == ["run.json", "samples"]
    assert [path.name for path in (store.folder / "samples").iterdir()] == [f"{KEY[:16]}.parquet"]
    store.finish(KEY, 2)  # again is harmless


def test_leftovers_of_a_killed_writer_go(store: Store) -> None:
    leftover = store.folder / "samples" / ".0123.parquet.99999999.tmp"
    leftover.parent.mkdir()
    leftover.write_bytes(b"half")
    Store.opened(store.folder, {})
    assert not leftover.exists()


def make_other_version(folder: Path) -> None:
    folder.mkdir()
    (folder / "run.json").write_text('{"format": 99}')


def make_damaged(folder: Path) -> None:
    folder.mkdir()
    (folder / "run.json").write_text('{"format": 1')


def make_foreign(folder: Path) -> None:
    folder.mkdir()
    (folder / "thesis.tex").write_text("...")


def make_file(folder: Path) -> None:
    folder.write_text("a file")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (make_other_version, "has report format 99, this robusteval writes 1; name another folder with --out"),
        (make_damaged, "run.json is damaged; name another folder with --out"),
        (make_foreign, "the folder is not empty and not a report; name another with --out"),
        (make_file, "must be a folder, and a file of that name exists"),
    ],
)
def test_folders_that_are_refused_stay_as_they_are(tmp_path: Path, make: Callable[[Path], None], said: str) -> None:
    folder = tmp_path / "report"
    make(folder)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(RecordError, match=said):
        Store.opened(folder, {})
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_folder_without_a_record_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"is not a report folder: it has no run\.json"):
        Store.check(tmp_path)


@pytest.fixture
def little_room(tmp_path: Path) -> Iterator[Callable[[int], None]]:
    """Let no file of this process grow above so many bytes: a full disk that needs no rights."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, ignored)


def test_a_full_disk_leaves_nothing_half_written(store: Store, little_room: Callable[[int], None]) -> None:
    store.write_shard(KEY, 0, rows(3), Facts())
    before = {path: path.read_bytes() for path in store.folder.rglob("*") if path.is_file()}
    noise = pd.DataFrame({"sample": np.random.default_rng(0).integers(0, 2**60, 20_000)})
    little_room(10_000)
    with pytest.raises(RecordError, match="cannot be written: the disk is full; what was finished before is kept"):
        store.write_shard(KEY, 1, noise, Facts())
    with pytest.raises(RecordError, match="the disk is full"):
        store.write_examples(KEY, {"changed": torch.zeros(10_000)})
    little_room(10_000_000)
    assert {path: path.read_bytes() for path in store.folder.rglob("*") if path.is_file()} == before
    store.write_shard(KEY, 1, noise, Facts())
    assert store.has_shard(KEY, 1)


def test_the_device_that_is_always_full(tmp_path: Path) -> None:
    def overflow(_: object) -> None:
        with Path("/dev/full").open("wb", buffering=0) as full:
            full.write(b"one byte too many")

    with pytest.raises(RecordError, match="cannot be written: the disk is full; what was finished before is kept"):
        files.write(tmp_path / "file", overflow)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda raw: b"", id="empty"),
        pytest.param(lambda raw: raw[: len(raw) // 2], id="cut"),
        pytest.param(lambda raw: raw[:-1], id="cut-by-a-byte"),
        pytest.param(lambda raw: b"<html>" * 50, id="other"),
        pytest.param(lambda raw: raw[:60] + bytes(byte ^ 255 for byte in raw[60:64]) + raw[64:], id="flipped-data"),
        pytest.param(lambda raw: raw[:-60] + b"\xff" * 40 + raw[-20:], id="flipped-footer"),
    ],
)
def test_damaged_rows_are_never_read(store: Store, damage: Callable[[bytes], bytes]) -> None:
    store.write_shard(KEY, 0, rows(500), Facts())
    store.finish(KEY, 1)
    path = store.folder / "samples" / f"{KEY[:16]}.parquet"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RecordError, match="is damaged: delete it and run the same command again") as caught:
        store.read(KEY)
    assert "\n" not in str(caught.value)


def test_a_missing_table_says_what_to_do(store: Store) -> None:
    with pytest.raises(
        RecordError, match=r"metrics\.parquet is missing: its run did not end; run the same command again"
    ):
        store.read_metrics()


def test_equal_frames_give_equal_bytes(tmp_path: Path) -> None:
    for name in "ab":
        files.write_frame(tmp_path / name, rows(50), {"flags": ["x"], "forwards": 3})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_what_the_run_was_stands_beside_the_format(store: Store) -> None:
    assert json.loads((store.folder / "run.json").read_text()) == {"format": 1, "suite": "tiny"}
    assert Store.check(store.folder)["suite"] == "tiny"


@pytest.mark.parametrize(("classes", "keep", "kept"), [(10, False, True), (101, False, False), (101, True, True)])
def test_predictions_survive_the_record(store: Store, classes: int, keep: bool, kept: bool) -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(7, classes)).astype(np.float32)
    before = Predictions.from_logits(logits, generator.integers(0, classes, 7), np.arange(10, 17))
    store.write_shard(KEY, 0, prediction_frame(before, keep), Facts())
    store.finish(KEY, 1)
    frame = store.read(KEY)[0]
    after = predictions_of(frame)
    for name in ("samples", "labels", "predicted", "confidence", "nll", "brier", "margin", "correct"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    assert ("logits" in frame) is kept
    assert after.logits is None or np.array_equal(after.logits, logits)
    assert own_columns(frame) == []


def test_metrics_keep_their_columns_and_types(store: Store) -> None:
    frame = metric_frame([{"model": "a", "value": 1.0, "n": 3}, {"model": "b", "error": "NaN"}])
    store.write_table("metrics", frame, csv=True)
    pd.testing.assert_frame_equal(store.read_metrics(), frame)
    assert list(pd.read_csv(store.folder / "metrics.csv").columns) == list(METRIC_COLUMNS)
    assert frame["error"].isna().tolist() == [True, False]


def test_a_record_without_origins_has_generated_corruptions(store: Store) -> None:
    rows = [{"view": "clean", "kind": "clean"}, {"view": "fog@3", "kind": "corruption"}]
    store.write_table("metrics", metric_frame(rows).drop(columns="origin"))
    found = store.read_metrics()
    assert list(found.columns) == list(METRIC_COLUMNS)
    assert found["origin"].fillna("none").tolist() == ["none", "generated"]


def test_some_columns_of_a_cell_are_read_alone(store: Store) -> None:
    frame = pd.DataFrame({"sample": [1, 2], "correct": [True, False], "nll": [0.1, 0.2]})
    store.write_shard("c" * 64, 0, frame, Facts())
    store.finish("c" * 64, 1)
    pd.testing.assert_frame_equal(store.read_columns("c" * 64, ["sample", "correct"]), frame[["sample", "correct"]])
