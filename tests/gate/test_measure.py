from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from robusteval.core.paired import bootstrap_difference
from robusteval.core.statistics import poisson_weights
from robusteval.gate import baseline
from robusteval.gate.check import check
from robusteval.gate.rules import Gate, Rules
from robusteval.metrics.functional.calibration import binned_error


def frame(folder, model, view):
    cells = pd.read_parquet(f"{folder}/cells.parquet")
    cell = cells.loc[(cells["model"] == model) & (cells["view"] == view), "cell"].item()
    return pd.read_parquet(f"{folder}/samples/{cell}.parquet")


def test_rows_are_those_of_the_record(bundled, only):
    """The numbers of two bundled models, from a few lines of pandas."""
    found = check(only("mixup-seed0"), only("erm-seed0"))
    assert [(row.measured.view, row.measured.metric) for row in found.rows][:3] == [
        ("clean", "accuracy"),
        ("clean", "ece"),
        ("fgsm(eps=8/255)", "accuracy"),
    ]
    metrics = pd.read_parquet(f"{bundled.name}/metrics.parquet").set_index(["model", "view", "metric"])["value"]
    for row in found.rows:
        of = row.measured
        new, old = (frame(bundled.name, model, of.view) for model in ("mixup-seed0", "erm-seed0"))
        assert of.value == pytest.approx(metrics["mixup-seed0", of.view, of.metric])
        assert of.baseline == pytest.approx(metrics["erm-seed0", of.view, of.metric])
        assert of.n == 1000
        if of.metric == "accuracy":
            lost, won = old["correct"] & ~new["correct"], new["correct"] & ~old["correct"]
            assert of.difference == pytest.approx((lost.sum() - won.sum()) / 1000)
            assert of.p == pytest.approx(stats.binomtest(int(lost.sum()), int((lost | won).sum())).pvalue)
            assert list(of.newly_broken) == new.loc[lost, "sample"].tolist()
        else:
            assert of.difference == pytest.approx(of.value - of.baseline)
            assert of.newly_broken == ()
        assert of.low <= of.difference <= of.high
    adjusted = sorted(row.measured.p for row in found.rows)[0] * len(found.rows)
    assert min(row.adjusted for row in found.rows) == pytest.approx(adjusted)


def test_ece_is_bootstrapped_in_pairs(bundled, only):
    row = check(only("mixup-seed0"), only("erm-seed0")).rows[1]
    new, old = (frame(bundled.name, model, "clean") for model in ("mixup-seed0", "erm-seed0"))
    statistics = [binned_error(side["confidence"].to_numpy(), side["correct"].to_numpy()) for side in (new, old)]
    weights = poisson_weights(new["sample"].to_numpy(), 1000, bundled.seed)
    expected = bootstrap_difference(*statistics, weights, shape="basic")
    of = row.measured
    assert (of.difference, of.low, of.high, of.p) == pytest.approx(expected)
    assert of.error == pytest.approx((of.high - of.low) / 3.92, rel=1e-3)
    assert row.verdict == "regressed"


def test_models_against_themselves_are_in_order(only, tmp_path):
    """Against the report, and against the baseline file made of it."""
    models = "erm-seed0", "mixup-seed0", "trades-seed0"
    for side in (only(*models), baseline.read(written(only(*models), tmp_path))):
        found = check(only(*models), side)
        assert {row.verdict for row in found.rows} == {"ok"}
        assert len(found.rows) == 3 * 7
        assert all(row.measured.same and row.measured.difference == 0 for row in found.rows)
        assert found.exit_code == 0


def written(side, folder):
    baseline.write(folder / "file", side)
    return folder / "file"


def test_a_metric_of_which_a_baseline_keeps_no_samples(only, tmp_path):
    """Brier is paired between reports, and compared by its intervals with a baseline file; gamma likewise."""
    rules = Rules(gates=(Gate(metrics=("brier", "gamma"), margin=0.05, better="lower"),))
    new, old = only("mixup-seed0"), only("erm-seed0")
    thin = baseline.read(written(old, tmp_path))
    pairs = {row.measured.view: row.measured for row in check(new, old, rules).rows}
    found = {row.measured.view: row.measured for row in check(new, thin, rules).rows}
    assert list(found) == list(pairs)
    for view, row in found.items():
        assert row.notes == ("unpaired: a baseline file keeps no samples of it",)
        assert pairs[view].notes == ()
        assert row.difference == pytest.approx(pairs[view].difference)
        assert (row.value, row.baseline) == pytest.approx((pairs[view].value, pairs[view].baseline))
        assert row.error > pairs[view].error, "pairs vary less"
    assert {row.verdict for row in check(old, thin, rules).rows} == {"ok"}, "the very same numbers are no regression"


def test_a_metric_that_is_newer_than_the_record(only):
    new, old = only("mixup-seed0"), only("erm-seed0")
    known = {name: found for name, found in old.entries[0].estimates.items() if name != "ece-classwise"}
    assert len(known) < len(old.entries[0].estimates)
    old = replace(old, entries=(replace(old.entries[0], estimates=known), *old.entries[1:]))
    rules = Rules(gates=(Gate(views=("clean",), metrics=("ece-classwise",)),))
    row = check(new, old, rules).rows[0].measured
    assert row.notes == ()
    assert row.difference == pytest.approx(row.value - row.baseline)


def test_values_that_a_probe_left_out_do_not_count(only):
    """`steps_to_break` is of broken samples alone."""
    view = "pgd(eps=8/255, steps=10)"
    rules = Rules(gates=(Gate(views=(view,), metrics=("steps_to_break",), better="higher", margin=0.1),))
    row = check(only("mixup-seed0"), only("erm-seed0"), rules).rows[0].measured
    assert row.value == pytest.approx(only("mixup-seed0").views("mixup-seed0")[view].estimates["steps_to_break"].value)
    assert row.difference == pytest.approx(row.baseline - row.value)


@pytest.mark.parametrize("worse", [0, 1])
def test_nan_is_not_comparable(make_side, make_predictions, worse):
    sides = [make_side({"clean": make_predictions(seed=seed)}) for seed in (1, 2)]
    entry = sides[worse].entries[0]
    lost = {**entry.estimates, "ece": entry.estimates["ece"]._replace(value=np.nan)}
    sides[worse] = replace(sides[worse], entries=(replace(entry, estimates=lost),))
    found = check(*sides)
    assert found.exit_code == 2
    assert [row.verdict for row in found.rows][1] == "not comparable"
    assert found.rows[1].reason == ("ece is nan", "the baseline's ece is nan")[worse]


def test_nan_among_the_samples_is_not_comparable(make_side, make_predictions):
    fine, bad = make_predictions(seed=1), make_predictions(seed=2)
    confidence = bad.confidence.copy()
    confidence[7] = np.nan
    new, old = make_side({"clean": bad}), make_side({"clean": fine})
    rows = replace(new.entries[0].read([]), predictions=replace(bad, confidence=confidence))
    new = replace(new, entries=(replace(new.entries[0], read=lambda _: rows),))
    found = check(new, old)
    assert (found.exit_code, found.rows[1].reason) == (2, "confidence is nan on some samples")


def test_flags_are_told(make_side, make_predictions):
    sides = [make_side({"fog@3": make_predictions(seed=1)}) for _ in range(2)]
    flagged = replace(sides[0].entries[0], grade="C", flags="unstable, zero-gradients")
    row = check(replace(sides[0], entries=(flagged,)), sides[1]).rows[0]
    assert row.measured.notes == ("upper bound, potentially unreliable: unstable, zero-gradients",)
    assert (row.verdict, row.reason) == ("cannot tell", "it has grade C, which the rules do not allow")
