"""Recalibration in a run: across halves, on another split, with other recalibrators, and where there is too little."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from torch import Tensor

import robusteval
from robusteval.calibration import RECALIBRATORS, halves_of
from robusteval.calibration.temperature import best_temperature
from robusteval.core.errors import InputError, RobustevalError
from robusteval.data import DATA
from robusteval.data.dataset import parts
from robusteval.engine.plan import Settings
from robusteval.engine.run import Run
from robusteval.engine.serial import Serial
from robusteval.engine.sources import DataSource, ModelSource
from robusteval.engine.suite import Group, Suite
from robusteval.metrics import expected_calibration_error, negative_log_likelihood
from robusteval.models import ARCHITECTURES
from robusteval.models.checkpoint import read_card, save
from robusteval.models.foreign import Description
from robusteval.models.loading import describe
from robusteval.reporting.compare.columns import Column
from robusteval.reporting.compare.evidence import Evidence
from robusteval.reporting.compare.pool import Pool
from robusteval.results.report import Report
from robusteval.results.store import Store
from robusteval.training import Recipe, Training
from robusteval.variants import VARIANTS

SUITE = Suite(name="two", samples=150, views=(Group(specs=("clean", "fog@2")),))
CLEAN = Suite(name="one", views=(Group(specs=("clean",)),))
KEYS = ["model", "view", "metric"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of digits whose training held out a tenth."""
    recipe = Recipe(epochs=1, batch_size=64, lr=0.1, validation=0.1)
    training = Training(VARIANTS.parse("erm"), DATA.parse("digits"), ARCHITECTURES.parse("small-cnn"), recipe, 3)
    path = tmp_path_factory.mktemp("trained") / "net.safetensors"
    save(path, *training.run()[:2])
    return path


def into(folder: Path, checkpoint: Path, suite: Suite = SUITE, **options: Any) -> Report:
    described = describe(checkpoint, Description())
    source = ModelSource(checkpoint.stem, DataSource(str(described.data)), checkpoint, described)
    said: list[str] = []
    Run(suite, [source], Settings(), Serial(), **options).into(folder, said.append)
    assert said == []
    return Report.read(folder)


@pytest.fixture(scope="module")
def crossed(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Report:
    return into(tmp_path_factory.mktemp("crossed") / "report", trained)


@pytest.fixture(scope="module")
def apart(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("apart") / "report"
    into(folder, trained, SUITE.calibrated("train"))
    return folder


def logits_of(report: Report, view: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows = report.samples[report.samples["view"].eq(view)]
    return np.stack(rows["logits"].to_list()), rows["label"].to_numpy(), rows["sample"].to_numpy()


def value(report: Report, view: str, metric: str) -> float:
    rows = report.metrics[report.metrics["view"].eq(view) & report.metrics["metric"].eq(metric)]
    return float(rows["value"].item())


def scipys(logits: np.ndarray, labels: np.ndarray) -> float:
    """The best temperature by another way: over the inverse, by Brent's method without bounds."""
    scores = logits.astype(np.float64)

    def loss(inverse: float) -> float:
        return float((logsumexp(scores * inverse, axis=1) - inverse * scores[np.arange(len(labels)), labels]).mean())

    return 1 / float(minimize_scalar(loss, bracket=(0.5, 1.5), method="brent", options={"xtol": 1e-10}).x)


def test_the_halves_are_stored_and_are_those_of_the_ids(crossed: Report) -> None:
    samples = crossed.samples.query("view == 'clean'")["sample"]
    assert sorted(crossed.halves["sample"]) == sorted(samples)
    assert crossed.halves["half"].tolist() == halves_of(crossed.halves["sample"].to_numpy()).tolist()
    assert crossed.halves["half"].dtype == np.int8
    assert 0 < crossed.halves["half"].mean() < 1


@pytest.mark.parametrize("view", ["clean", "fog@2"])
def test_the_record_says_how_each_half_was_scaled(crossed: Report, view: str) -> None:
    logits, labels, samples = logits_of(crossed, view)
    cell = crossed.cells.set_index("view").loc[view, "cell"]
    rows = crossed.recalibration[crossed.recalibration["cell"].eq(cell)]
    halves = crossed.halves.set_index("sample")["half"][samples].to_numpy()
    scaled = logits.astype(np.float64)
    assert rows["half"].tolist() == [0, 1]
    assert set(rows["recalibrator"]) == set(rows["parameter"]) == {"temperature"}
    for row in rows.itertuples():
        others = halves != row.half
        assert row.n == others.sum()
        assert row.value == best_temperature(logits[others], labels[others])
        scaled[~others] /= row.value
    assert value(crossed, view, "ece after temperature") == pytest.approx(expected_calibration_error(scaled, labels))
    assert value(crossed, view, "nll after temperature") == pytest.approx(negative_log_likelihood(scaled, labels))


def test_the_best_temperature_of_every_view_stands_with_its_interval(crossed: Report) -> None:
    rows = crossed.metrics.query("metric == 'temperature'")
    assert rows["view"].tolist() == ["clean", "fog@2"]
    assert (rows["low"] < rows["value"]).all()
    assert (rows["value"] < rows["high"]).all()
    for row in rows.itertuples():
        assert row.value == pytest.approx(scipys(*logits_of(crossed, row.view)[:2]), rel=1e-4)


def test_on_another_split_one_map_scales_all_views(apart: Path) -> None:
    report = Report.read(apart)
    logits, labels, samples = logits_of(report, "calibration")
    train = DATA.parse("digits").split("train").stratified(150)
    assert (samples.tolist(), labels.tolist()) == (train.ids.tolist(), train.labels.tolist())
    (row,) = report.recalibration.itertuples()
    assert row.value == pytest.approx(scipys(logits, labels), rel=1e-4)
    assert row.value == value(report, "calibration", "temperature")
    assert (row.parameter, row.n) == ("temperature", 150)
    assert pd.isna(row.half)
    assert report.cells.set_index("cell").loc[row.cell, "view"] == "calibration"
    assert report.halves.empty
    for view in ("clean", "fog@2"):
        logits, labels, _ = logits_of(report, view)
        known = negative_log_likelihood(logits.astype(np.float64) / row.value, labels)
        assert value(report, view, "nll after temperature") == pytest.approx(known)
    assert not report.metrics.query("view == 'calibration'")["metric"].str.contains("after").any()


def test_another_split_changes_what_comes_after_and_nothing_else(crossed: Report, apart: Path) -> None:
    other = Report.read(apart)
    views = other.metrics[other.metrics["kind"].ne("calibration")].reset_index(drop=True)
    after = views["metric"].str.contains(" after ")
    pd.testing.assert_frame_equal(views[~after], crossed.metrics[~after])
    assert after.sum() == 4
    assert (views.loc[after, "value"] != crossed.metrics.loc[after, "value"]).all()
    assert set(crossed.cells["digest"]) < set(other.cells["digest"])


@pytest.mark.parametrize("lost", ["calibration", "clean"])
def test_a_resumed_run_gives_the_same_bytes(
    trained: Path, apart: Path, record: Callable[[Path], dict[str, bytes]], tmp_path: Path, lost: str
) -> None:
    folder = tmp_path / "report"
    shutil.copytree(apart, folder)
    cell = Report.read(folder).cells.set_index("view").loc[lost, "cell"]
    (folder / "samples" / f"{cell}.parquet").unlink()
    (folder / "metrics.parquet").unlink()
    into(folder, trained, SUITE.calibrated("train"))
    assert record(folder) == record(apart)


def test_what_halves_had_written_goes(trained: Path, tmp_path: Path) -> None:
    """The same folder first across halves, then on a split, and back."""
    folder, suite = tmp_path / "report", SUITE.model_copy(update={"samples": 40})
    first = into(folder, trained, suite)
    assert into(folder, trained, suite.calibrated("train")).halves.empty
    again = into(folder, trained, suite)
    pd.testing.assert_frame_equal(again.metrics, first.metrics)
    pd.testing.assert_frame_equal(again.halves, first.halves)


def test_what_the_training_held_out(trained: Path, tmp_path: Path) -> None:
    """Its temperature is the one that the training has written on the card."""
    report = into(tmp_path / "report", trained, CLEAN.calibrated("validation"), samples="all")
    _, held = parts(DATA.parse("digits").split("train"), 0.1, seed=3)
    assert held is not None
    view = "calibration(split='validation')"
    assert logits_of(report, view)[2].tolist() == held.ids.tolist()
    card = read_card(trained)
    assert card is not None
    assert value(report, view, "temperature") == pytest.approx(card.temperature, rel=1e-4)
    assert "digits, 144 of validation of seed 3" in report.run["data"]


def test_the_record_says_that_a_network_may_know_its_train_split(apart: Path) -> None:
    notes = Report.read(apart).cells.set_index("view")["notes"]
    assert notes["calibration"] == "the network may have been trained on some of these samples"
    assert notes["clean"] == ""


def test_a_comparison_scales_as_the_report_did(apart: Path) -> None:
    pool = Pool.read([apart])
    metrics = pool.metrics[pool.metrics["view"].eq("clean")]
    for metric in ("ece after temperature", "nll after temperature"):
        row = metrics[metrics["metric"].eq(metric)].iloc[0]
        drawn = Evidence(pool).drawn(str(row.model), Column(metric, ("clean",), metric))
        assert drawn is not None
        assert drawn.value == pytest.approx(row.value, rel=1e-9)
    pool.require_one_scaling()


def images(n: int = 60, seed: int = 0, shape: tuple[int, ...] = (1, 4, 4)) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, *shape, generator=generator), torch.arange(n) % 4


def first(x: Tensor, classes: int = 4) -> Tensor:
    return 4 * x.flatten(1)[:, :classes]


def test_a_model_in_memory_is_calibrated_on_a_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    other = images(30, seed=1)
    report = robusteval.evaluate(first, images(), CLEAN, calibrate_on=other)
    known = best_temperature(first(other[0]).numpy(), other[1].numpy())
    assert report.recalibration["value"].tolist() == [known]
    few = robusteval.evaluate(first, images(), CLEAN, calibrate_on=(other[0][:2], other[1][:2]))
    assert few.recalibration["n"].tolist() == [2], "a class that is not among them is no trouble"
    monkeypatch.setattr("robusteval.engine.suite.MOST_CALIBRATED", 20)
    assert robusteval.evaluate(first, images(), CLEAN, calibrate_on=other).recalibration["n"].tolist() == [20]


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no split": ({"calibrate_on": "vall"}, "calibrate-on='vall': must be train, or validation"),
    "what is evaluated": ({"calibrate_on": "test"}, "calibrate-on='test': must be train, or validation"),
    "memory without a pair": ({"calibrate_on": "memory"}, "calibrate-on='memory': is for robusteval.evaluate"),
    "data in memory": ({"calibrate_on": "train"}, "calibrate-on='train': data in memory have no other split"),
    "another shape": (
        {"calibrate_on": images(shape=(3, 4, 4))},
        r"calibrate-on='memory': have shape \(3, 4, 4\) and 4 classes, the evaluated samples have shape \(1, 4, 4\)",
    ),
    "evaluated samples": (
        {"calibrate_on": images()},
        r"calibrate-on='memory': 60 of its images are evaluated too \(TRUST R26\); give others",
    ),
    "more classes": ({"calibrate_on": (images()[0], torch.arange(60))}, "calibrate_on=60: must have the data's 4"),
    "unknown": ({"recalibrate": "temprature"}, "unknown recalibrator 'temprature': did you mean 'temperature'?"),
    "twice": ({"recalibrate": ["vector", "vector"]}, "recalibrate='vector,vector': must name each once"),
    "none": ({"recalibrate": ""}, "recalibrate='': must name at least one"),
}


@pytest.mark.parametrize(("options", "said"), WRONG.values(), ids=WRONG.keys())
def test_bad_options_are_one_line_and_leave_nothing(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(RobustevalError, match=said) as error:
        robusteval.evaluate(first, images(), CLEAN, out=tmp_path / "report", **options)
    assert len(str(error.value).splitlines()) == 1
    assert not (tmp_path / "report").exists()


def test_a_split_that_the_data_or_the_card_have_not(home: Path, tmp_path: Path) -> None:
    path = home / "erm-seed0.safetensors"
    with pytest.raises(InputError, match="calibrate-on='validation': the card of erm-seed0 names no part of npz"):
        robusteval.evaluate(path, suite=CLEAN, calibrate_on="validation")
    np.savez(tmp_path / "test.npz", x_test=np.zeros((20, 8, 8), np.uint8), y_test=np.arange(20) % 10)
    data = f"npz(path={str(tmp_path / 'test.npz')!r})"
    with pytest.raises(InputError, match=r"calibrate-on='train': .*test.npz .*has no train split, only test"):
        robusteval.evaluate(path, data, CLEAN, calibrate_on="train")


def test_a_suite_may_name_its_view_itself() -> None:
    own = Suite(name="own", views=(Group(specs=("clean", "calibration")),))
    assert own.calibrated("train") is own
    with pytest.raises(InputError, match="calibrate-on='validation': the suite 'own' has the view calibration already"):
        own.calibrated("validation")
    two = Suite(name="two", views=(Group(specs=("clean", "calibration", "calibration(split='validation')")),))
    with pytest.raises(InputError, match="has several views to calibrate on; name one"):
        robusteval.evaluate(first, images(), two)
    assert SUITE.calibrated("train").views[:-1] == SUITE.views


def test_other_recalibrators_have_rows_and_parameters_of_their_own() -> None:
    report = robusteval.evaluate(first, images(), CLEAN, recalibrate="vector(penalty=1e-3), temperature")
    after = [name for name in report.metrics["metric"] if " after " in name]
    assert after == [
        f"{name} after {each}" for each in ("vector(penalty=0.001)", "temperature") for name in ("ece", "nll")
    ]
    counts = report.recalibration.groupby(["recalibrator", "half"]).size()
    assert counts.to_dict() == {
        **{("vector(penalty=0.001)", half): 8 for half in (0, 1)},
        **{("temperature", half): 1 for half in (0, 1)},
    }
    logits, labels = first(images()[0]).numpy(), images()[1].numpy()
    halves = halves_of(np.arange(60))
    fitted = RECALIBRATORS.parse("vector(penalty=1e-3)").fit(logits[halves == 1], labels[halves == 1])
    rows = report.recalibration.query("recalibrator != 'temperature' and half == 0")
    assert dict(zip(rows["parameter"], rows["value"], strict=True)) == fitted.parameters


def test_a_map_without_numbers_has_a_row_all_the_same() -> None:
    report = robusteval.evaluate(first, images(), CLEAN, recalibrate=["isotonic"])
    assert report.recalibration["n"].sum() == 60
    assert report.recalibration[["parameter", "value"]].isna().all(axis=None)
    assert report.metrics.query("metric == 'ece after isotonic'")["value"].notna().all()


def test_without_netcal_nothing_is_begun(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "netcal.scaling", None)
    with pytest.raises(InputError, match=r"recalibrator='platt': needs netcal; pip install 'robusteval\[netcal\]'"):
        robusteval.evaluate(first, images(), CLEAN, recalibrate="temperature,platt", out=tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_logits_of_many_classes(tmp_path: Path) -> None:
    def many(x: Tensor) -> Tensor:
        return first(x, 101)

    data = images(40, shape=(3, 8, 8))
    report = robusteval.evaluate(many, data, CLEAN)
    assert report.cells["notes"].tolist() == [
        "not recalibrated: logits of more than 100 classes are kept only with --keep-logits"
    ]
    assert not report.metrics["metric"].str.contains("temperature").any()
    for options in ({"calibrate_on": images(8, seed=1, shape=(3, 8, 8))}, {"recalibrate": "vector"}):
        with pytest.raises(InputError, match="of 101 classes are kept only with --keep-logits"):
            robusteval.evaluate(many, data, CLEAN, **options)
        kept = robusteval.evaluate(many, data, CLEAN, keep_logits=True, **options)
        assert kept.metrics["metric"].str.contains(" after ").sum() == 2


LIMITS: dict[str, tuple[Callable[[Tensor], Tensor], tuple[Tensor, Tensor], tuple[float, float]]] = {
    "one sample, right": (lambda x: first(0 * x) + torch.eye(4)[0], images(1), (0.01, 0.05)),
    "one sample, wrong": (lambda x: first(0 * x) + torch.eye(4)[1], images(1), (99.9, 100)),
    "all confidences equal": (lambda x: first(0 * x), images(), (1, 1)),
    "always sure and right of one": (lambda x: first(0 * x) + 900 * torch.eye(4)[0], images(), (99.9, 100)),
    "classes never seen": (first, (images()[0], torch.arange(60) % 2), (0.01, 100)),
    "one class alone": (first, (images()[0], 0 * torch.arange(60)), (0.01, 100)),
}


@pytest.mark.parametrize(("model", "data", "temperature"), LIMITS.values(), ids=LIMITS.keys())
def test_too_little_has_a_limit_or_a_line_and_never_a_silent_nan(
    model: Callable[[Tensor], Tensor], data: tuple[Tensor, Tensor], temperature: tuple[float, float]
) -> None:
    report = robusteval.evaluate(model, data, CLEAN)
    assert report.failures.empty
    assert report.metrics[["value", "low", "high"]].notna().all(axis=None)
    assert np.isfinite(report.metrics["value"]).all()
    assert (report.metrics["low"] <= report.metrics["value"]).all()
    assert (report.metrics["value"] <= report.metrics["high"]).all()
    assert temperature[0] <= value(report, "clean", "temperature") <= temperature[1]
    noted = report.cells["notes"].tolist() == ["not recalibrated: a half of its 1 samples has none"]
    assert noted == (len(data[1]) == 1)
    assert report.metrics["metric"].str.contains(" after ").sum() == (0 if noted else 2)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("wrong", [torch.nan, torch.inf, -torch.inf])
def test_logits_that_are_no_numbers_fail_their_views(wrong: float) -> None:
    def broken(x: Tensor) -> Tensor:
        return torch.where(x[:, 0, 0, :1] > 0.9, wrong, first(x))

    report = robusteval.evaluate(broken, images(), CLEAN, calibrate_on=images(20, seed=1))
    assert set(report.failures["view"]) == set(report.cells["view"])
    assert report.metrics["error"].str.contains("logits: must be finite, but are NaN or infinite for").all()
    assert report.recalibration.empty


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_where_the_samples_to_calibrate_on_fail_the_others_say_so() -> None:
    def dim(x: Tensor) -> Tensor:
        return torch.where(x.mean(dim=(1, 2, 3))[:, None] > 0.75, torch.nan, first(x))

    x, y = images()
    report = robusteval.evaluate(dim, (x / 2, y), CLEAN, calibrate_on=(0.5 + x / 2, y))
    assert report.failures["view"].tolist() == ["calibration(split='memory')"]
    notes = report.cells.set_index("view")["notes"]
    assert notes["clean"] == "not recalibrated: its view to calibrate on has no samples"
    assert not report.metrics["metric"].str.contains(" after ", na=False).any()


def test_a_record_from_before_there_were_halves_can_be_read(crossed: Report, apart: Path, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    shutil.copytree(apart, folder)
    for name in ("halves", "recalibration"):
        (folder / f"{name}.parquet").unlink()
    old = Report.read(folder)
    assert (len(old.halves), len(old.recalibration)) == (0, 0)
    assert old.recalibration.dtypes.to_dict() == crossed.recalibration.dtypes.to_dict()


def test_halves_cost_little_more_than_a_bit_each(tmp_path: Path) -> None:
    ids = np.arange(10_000)
    Store(tmp_path).write_table("halves", pd.DataFrame({"sample": ids, "half": halves_of(ids).astype(np.int8)}))
    assert (tmp_path / "halves.parquet").stat().st_size < 15_000 / 8 + 1000
