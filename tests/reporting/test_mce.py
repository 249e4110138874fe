"""The mCE that `robusteval report --mce-against` asks for."""

import json
import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from robusteval.core.errors import InputError, RecordError
from robusteval.reporting import mce
from robusteval.reporting.corruptions import ALEXNET, ALEXNET_CLEAN, mean_corruption_errors
from robusteval.results.schema import metric_frame
from robusteval.results.store import Store

VIEWS = ["clean", *(f"{name}@{severity}" for name, severity in product(ALEXNET, range(1, 6)))]
N = 40


def correct(model: str) -> pd.DataFrame:
    """Verdicts by sample and view, the same each time."""
    generator = np.random.default_rng(len(model))
    return pd.DataFrame(generator.random((N, len(VIEWS))) < [0.95] + [0.5] * (len(VIEWS) - 1), columns=VIEWS)


def report(folder: Path, models: tuple[str, ...], data: str = "digits", **run: object) -> Path:
    """A report of made-up verdicts on the 15 test corruptions."""
    store = Store.opened(folder, {"seed": 0, **run})
    samples, metrics, cells = folder / "samples", [], []
    samples.mkdir()
    for model, view in product(models, VIEWS):
        cell = f"{len(cells):016x}"
        rows = pd.DataFrame({"sample": np.arange(N), "correct": correct(model)[view]})
        rows.to_parquet(samples / f"{cell}.parquet")
        kind = "clean" if view == "clean" else "corruption"
        metrics.append({"model": model, "data": data, "view": view, "kind": kind, "metric": "accuracy", "n": N})
        metrics[-1] |= {"origin": None if view == "clean" else "generated", "value": float(rows["correct"].mean())}
        cells.append({"cell": cell, "model": model, "view": view})
    store.write_table("metrics", metric_frame(metrics))
    store.write_table("cells", pd.DataFrame(cells))
    return folder


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report(tmp_path_factory.mktemp("own") / "report", ("net",))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report(tmp_path_factory.mktemp("other") / "report", ("reference", "a"))


def errors(model: str) -> tuple[np.ndarray, float]:
    wrong = 1 - correct(model).mean()
    return np.array([wrong[[f"{name}@{severity}" for severity in range(1, 6)]].mean() for name in ALEXNET]), wrong[
        "clean"
    ]


def test_the_errors_are_divided_by_the_named_model(own: Path, other: Path) -> None:
    found = mce.write(own, f"{other}:reference").set_index("score")
    (net, clean), (reference, reference_clean) = errors("net"), errors("reference")
    assert found.loc["mCE", "value"] == pytest.approx((net / reference).mean())
    relative = ((net - clean) / (reference - reference_clean)).mean()
    assert found.loc["relative mCE", "value"] == pytest.approx(relative)
    assert pd.read_csv(own / "mce.csv")["value"].tolist() == pytest.approx(found["value"].tolist())
    text = mce.markdown(found.reset_index())
    low, high = 100 * found.loc["mCE", "low"], 100 * found.loc["mCE", "high"]
    assert f"| net | generated | {100 * found.loc['mCE', 'value']:.1f} [{low:.1f}, {high:.1f}] |" in text
    assert f"Divided by the errors of {other}:reference" in text


def test_alexnets_errors_are_published(own: Path) -> None:
    found = mce.write(own, "alexnet").set_index("score")
    net, clean = errors("net")
    published = np.array([*ALEXNET.values()])
    assert found.loc["mCE", "value"] == pytest.approx((net / published).mean())
    assert found.loc["relative mCE", "value"] == pytest.approx(((net - clean) / (published - ALEXNET_CLEAN)).mean())
    assert "AlexNet (published, ImageNet-C)" in mce.markdown(found.reset_index())


def test_trust_r22_alexnet_is_for_imagenet(tmp_path: Path, own: Path) -> None:
    for classes, fits in ((1000, True), (10, False)):
        copy = tmp_path / str(classes)
        shutil.copytree(own, copy)
        run = json.loads((copy / "run.json").read_text())
        names = [str(number) for number in range(classes)]
        (copy / "run.json").write_text(json.dumps({**run, "classes": {"digits": names}}))
        if fits:
            assert mce.write(copy, "alexnet")["value"].notna().all()
        else:
            with pytest.raises(InputError, match="AlexNet's errors are of ImageNet-C, of 1000 classes"):
                mce.write(copy, "alexnet")


def test_a_reference_that_does_not_fit_is_said(own: Path, other: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds 2 models; name one, as FOLDER:MODEL"):
        mce.write(own, str(other))
    with pytest.raises(InputError, match="did you mean 'reference'"):
        mce.write(own, f"{other}:referense")
    with pytest.raises(RecordError, match="nowhere is not a report folder"):
        mce.write(own, "nowhere")
    elsewhere = report(tmp_path / "elsewhere", ("b",), data="cifar10")
    with pytest.raises(InputError, match="its data are cifar10, those of the report digits"):
        mce.write(own, str(elsewhere))
    store = Store.opened(tmp_path / "none", {"seed": 0})
    store.write_table("metrics", metric_frame([{"model": "a", "view": "clean", "kind": "clean", "metric": "accuracy"}]))
    store.write_table("cells", pd.DataFrame({"cell": ["0"], "model": ["a"], "view": ["clean"]}))
    with pytest.raises(InputError, match="has no view of the 15 test corruptions"):
        mce.write(tmp_path / "none", "alexnet")


def test_a_divisor_of_nothing_is_infinite_and_no_error(tmp_path: Path) -> None:
    even = correct("net").assign(**{view: correct("net")["fog@1"] for view in VIEWS})
    samples = pd.concat([even[[view]].set_axis(["correct"], axis=1).assign(view=view) for view in VIEWS])
    samples = samples.rename_axis("sample").reset_index().assign(model="even")
    own = samples.assign(correct=[bool(number % 3) for number in range(len(samples))])
    metrics = metric_frame([{"model": "even", "view": view, "kind": "corruption"} for view in VIEWS[1:]])
    found = mean_corruption_errors(metrics, own, samples).set_index("score")
    assert np.isfinite(found.loc["mCE", ["value", "low", "high"]].astype(float)).all()
    assert not np.isfinite(found.loc["relative mCE", "value"])
