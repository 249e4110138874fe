"""Scores over corruptions against a direct calculation; never a mean of what must not be mixed or is not there."""

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest

from robusteval.core.errors import InputError
from robusteval.core.statistics import poisson_weights
from robusteval.corruptions import CORRUPTIONS
from robusteval.reporting import tables
from robusteval.reporting.corruptions import (
    ALEXNET,
    ALEXNET_CLEAN,
    COLUMNS,
    Kind,
    expected,
    kinds,
    mean_corruption_errors,
    scores,
    view_of,
)
from robusteval.results.schema import metric_frame

N = 300
TEST = [f"{name}@{severity}" for name, severity in product(ALEXNET, range(1, 6))]


def record(views: list[str], models: tuple[str, ...] = ("a",), n: int = N, seed: int = 0) -> tuple[Any, Any]:
    """Metrics and samples of models that are right at random, less often at high severity."""
    generator, rows, frames = np.random.default_rng(seed), [], []
    for model, view in product(models, ["clean", *views]):
        chance = 0.9 if view == "clean" else 0.8 - 0.08 * int(view[-1])
        correct = generator.random(n) < chance
        origin = None if view == "clean" else "official" if view.startswith("official:") else "generated"
        kind = "clean" if view == "clean" else "corruption"
        common = {"model": model, "data": "d", "view": view, "kind": kind, "origin": origin, "n": n}
        value = {"value": correct.mean(), "low": correct.mean() - 0.01, "high": correct.mean() + 0.01}
        rows.append({**common, "metric": "accuracy", **value})
        frames.append(pd.DataFrame({"model": model, "view": view, "sample": np.arange(n) * 3, "correct": correct}))
    return metric_frame(rows), pd.concat(frames, ignore_index=True)


def accuracy(samples: pd.DataFrame, views: list[str], model: str = "a") -> float:
    rows = samples[(samples["model"] == model) & samples["view"].isin(views)]
    return float(rows.groupby("view")["correct"].mean().mean())


def test_the_published_errors_are_of_the_15_test_corruptions():
    test = {
        name for name, cls in CORRUPTIONS.classes.items() if cls.category in ("noise", "blur", "weather", "digital")
    }
    assert set(ALEXNET) == test
    assert len(TEST) == 75


def test_trust_r21_the_score_is_the_mean_over_75_cells():
    metrics, samples = record(TEST, ("a", "b"))
    found = scores(metrics, samples)
    assert tuple(found.columns) == COLUMNS
    assert found["missing"].isna().all()
    for model in ("a", "b"):
        rows = found[found["model"] == model].set_index(["score", "of"])
        assert rows.loc[("mean", "all"), "value"] == pytest.approx(accuracy(samples, TEST, model))
        noise = [view for view in TEST if "noise" in view]
        assert rows.loc[("category", "noise"), "value"] == pytest.approx(accuracy(samples, noise, model))
        fog = [view for view in TEST if view.startswith("fog")]
        assert rows.loc[("corruption", "fog"), "value"] == pytest.approx(accuracy(samples, fog, model))
        third = [view for view in TEST if view.endswith("3")]
        assert rows.loc[("severity", "3"), "value"] == pytest.approx(accuracy(samples, third, model))
        assert len(rows) == 1 + 4 + 15 + 5
    assert (found["low"] < found["value"]).all()
    assert (found["value"] < found["high"]).all()
    assert set(found["n"]) == {N}


def test_the_interval_is_the_bootstrap_of_per_sample_means():
    metrics, samples = record(TEST)
    row = scores(metrics, samples, seed=5).iloc[0]
    means = samples[samples["view"] != "clean"].groupby("sample")["correct"].mean()
    weights = poisson_weights(means.index.to_numpy(), 1000, 5).astype(float)
    draws = weights @ means.to_numpy() / weights.sum(axis=1)
    assert (row["low"], row["high"]) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])))


def test_a_score_of_which_views_are_missing_has_no_value_and_says_so():
    metrics, samples = record([view for view in TEST if view not in ("fog@4", "snow@1")])
    rows = scores(metrics, samples).set_index(["score", "of"])
    lacking = rows[rows["missing"].notna()]
    wanted = {("mean", "all"), ("category", "weather"), ("corruption", "fog"), ("corruption", "snow")}
    assert set(lacking.index) == {*wanted, ("severity", "1"), ("severity", "4")}
    assert lacking["value"].isna().all()
    assert rows.loc[("mean", "all"), "missing"] == "snow@1, fog@4"
    assert rows.loc[("corruption", "frost"), "value"] > 0


def test_trust_r21_r23_sets_families_and_origins_are_never_mixed():
    views = ["fog@1", "fog@2", "official:fog@1", "fog(family='imagenet')@1", "spatter@1", "ripple@1", "zigzag@1"]
    metrics, samples = record([*views, "fog(family='mnist-c')@1", "official:fog(family='mnist-c')@1", "hail@1"])
    by_kind = kinds(metrics)
    assert by_kind[Kind("generated", False, "test", None)] == ["fog@1", "fog@2"]
    assert by_kind[Kind("official", True, "test", None)] == ["official:fog@1"]
    assert by_kind[Kind("generated", False, "test", "imagenet")] == ["fog(family='imagenet')@1"]
    assert {kind.set for kind in by_kind} == {"test", "extra", "cifar10-c-bar", "mnist-c", "other"}
    found = scores(metrics, samples)
    for _, rows in found.groupby(["origin", "set", "family"], dropna=False):
        assert rows.loc[rows["score"] == "mean", "value"].isna().all() or rows["set"].iloc[0] == "other"
    fog = found[(found["score"] == "corruption") & (found["of"] == "fog")]
    assert fog["missing"].notna().sum() == 3
    shown = tables.table(metrics)
    means = [name for name in shown.columns if name.startswith("mean of")]
    assert means == [
        "mean of 2 corrupted",
        "mean of 2 mnist-c",
    ]
    assert {"official:fog@1", "spatter@1", "fog(family='imagenet')@1"} <= set(shown.columns)


@pytest.mark.parametrize(
    ("set_", "count"), [("test", 75), ("extra", 20), ("mnist-c", 15), ("cifar10-c-bar", 50), ("other", 0)]
)
def test_what_a_set_has(set_, count):
    assert len(expected(Kind("generated", False, set_, None))) == count


def test_views_of_which_nothing_is_known():
    assert view_of("x y@1").kind.set == "other"
    assert view_of("hail@2").place == "hail@2"


def test_only_samples_that_all_views_have_count():
    metrics, samples = record(TEST)
    short = samples[(samples["view"] != "fog@5") | (samples["sample"] < 30)]
    assert set(scores(metrics, short)["n"]) == {10}


def errors(samples: pd.DataFrame, name: str) -> float:
    return 1 - accuracy(samples, [f"{name}@{severity}" for severity in range(1, 6)])


def test_trust_r22_mce_divides_by_alexnets_errors():
    metrics, samples = record(TEST)
    found = mean_corruption_errors(metrics, samples).set_index("score")
    clean = 1 - accuracy(samples, ["clean"])
    ratios = [errors(samples, name) / ALEXNET[name] for name in ALEXNET]
    relative = [(errors(samples, name) - clean) / (ALEXNET[name] - ALEXNET_CLEAN) for name in ALEXNET]
    assert found.loc["mCE", "value"] == pytest.approx(np.mean(ratios))
    assert found.loc["relative mCE", "value"] == pytest.approx(np.mean(relative))
    assert (found["low"] < found["value"]).all()
    assert (found["value"] < found["high"]).all()
    assert found["definition"].str.contains("error").all()


def test_alexnet_itself_has_an_mce_of_one():
    """Of 10,000 samples, from its published errors to the nearest sample."""
    wrong = {"clean": ALEXNET_CLEAN, **{view: ALEXNET[view[:-2]] for view in TEST}}
    frames = [
        pd.DataFrame(
            {"model": "alexnet", "view": view, "sample": np.arange(10000), "correct": np.arange(10000) >= 10000 * share}
        )
        for view, share in wrong.items()
    ]
    found = mean_corruption_errors(record(TEST, ("alexnet",), 2)[0], pd.concat(frames)).set_index("score")
    assert found["value"].to_numpy() == pytest.approx(1, abs=1e-3)


def test_a_reference_report_is_paired_sample_by_sample():
    metrics, samples = record(TEST, ("a", "b"))
    own = mean_corruption_errors(metrics, samples, samples[samples["model"] == "a"])
    rows = own.set_index(["model", "score"])
    for score in ("mCE", "relative mCE"):
        same = rows.loc[("a", score)]
        assert same["value"] == pytest.approx(1)
        assert same["high"] - same["low"] < 1e-9  # its own reference, in every draw
        other = rows.loc[("b", score)]
        assert other["low"] < other["value"] < other["high"]
    clean = {model: 1 - accuracy(samples, ["clean"], model) for model in "ab"}
    wrong = {
        model: 1 - np.array([accuracy(samples, [f"{n}@{s}" for s in range(1, 6)], model) for n in ALEXNET])
        for model in "ab"
    }
    assert rows.loc[("b", "mCE"), "value"] == pytest.approx((wrong["b"] / wrong["a"]).mean())
    ratio = (wrong["b"] - clean["b"]) / (wrong["a"] - clean["a"])
    assert rows.loc[("b", "relative mCE"), "value"] == pytest.approx(ratio.mean())


def test_an_error_of_which_views_are_missing_has_no_value_and_says_so():
    metrics, samples = record(TEST)
    reference = samples[samples["view"] != "clean"]
    found = mean_corruption_errors(metrics, samples, reference).set_index("score")
    assert found.loc["mCE", "value"] == pytest.approx(1)
    assert pd.isna(found.loc["relative mCE", "value"])
    assert found.loc["relative mCE", "missing"] == "of the reference: clean"
    reference = reference[reference["view"] != "fog@2"]
    assert mean_corruption_errors(metrics, samples, reference)["missing"][0] == "of the reference: fog@2"
    few = mean_corruption_errors(*record(TEST[1:])).set_index("score")
    assert few.loc["mCE", "missing"] == "gaussian-noise@1"
    official = record([f"official:{view}" for view in TEST])
    assert mean_corruption_errors(*official, samples)["missing"][0].startswith("of the reference: gaussian-noise@1, ")


def test_a_reference_is_one_model():
    metrics, samples = record(["fog@1"], ("a", "b"))
    with pytest.raises(InputError, match="must be the samples of one model"):
        mean_corruption_errors(metrics, samples, samples)
    assert len(mean_corruption_errors(*record(["ripple@1"]))) == 0


def test_the_table_of_a_whole_suite_has_one_mean_for_each_set():
    extra = [f"{name}@{severity}" for name, severity in product(("spatter", "saturate"), range(1, 6))]
    metrics, _ = record([*TEST, *extra, *(f"official:{view}" for view in TEST)])
    shown = tables.table(metrics)
    assert list(shown.columns) == [
        "clean",
        "mean of 75 corrupted",
        "mean of 10 extra",
        "mean of 75 corrupted, official",
    ]
    remarks = tables.notes(metrics)
    assert remarks[0] == "Data: d; samples: 300 for clean, 75 corrupted, 10 extra, 75 corrupted, official."
    assert any(line.startswith("official: ") for line in remarks)
    (line,) = [line for line in remarks if "is not the score of the set" in line]
    assert (
        line
        == "The mean of 10 extra is not the score of the set, which is over all 20 of its corruptions and severities."
    )
