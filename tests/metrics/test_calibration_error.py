"""Top-label errors: equal width, equal mass, norms, debiased, over- and underconfidence, against other libraries."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from robusteval.core.errors import InputError
from robusteval.metrics import (
    METRICS,
    Predictions,
    debiased_calibration_error,
    estimate,
    expected_calibration_error,
    maximum_calibration_error,
    overconfidence_error,
    underconfidence_error,
)
from robusteval.metrics.functional.bins import equal_mass_bins, equal_width_bins
from robusteval.metrics.functional.calibration import binned_error, debiased_error
from robusteval.metrics.functional.validate import softmax, top_label
from robusteval.metrics.functional.weighing import unweighted


def drawn(n=1500, classes=10, scale=2.0, seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=scale, size=(n, classes))
    return logits, np.where(rng.random(n) < 0.5, logits.argmax(axis=1), rng.integers(0, classes, n))


def sure(confidence):
    """Two-class logits whose first class has these probabilities."""
    chance = np.array(confidence)
    with np.errstate(divide="ignore"):
        return np.stack([np.log(chance).clip(-800), np.log1p(-chance).clip(-800)], axis=1)


def by_loop(confidence, correct, index):
    """Of each filled bin: count, gap, accuracy."""
    groups = [index == b for b in np.unique(index)]
    return [(g.sum(), correct[g].mean() - confidence[g].mean(), correct[g].mean()) for g in groups]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("scale", [0.3, 2.0, 6.0])
@pytest.mark.parametrize("bins", [10, 15])
def test_equals_netcal(scale, bins):
    from netcal.metrics import ECE, MCE

    logits, labels = drawn(scale=scale)
    chances = softmax(logits)
    assert expected_calibration_error(logits, labels, bins) == pytest.approx(ECE(bins).measure(chances, labels))
    assert maximum_calibration_error(logits, labels, bins) == pytest.approx(MCE(bins).measure(chances, labels))
    if scale < 6:  # the samples of the last bins tie at nearly 1
        mass = ECE(bins, equal_intervals=False).measure(chances, labels)
        assert expected_calibration_error(logits, labels, bins, mass=True) == pytest.approx(mass)


@pytest.mark.filterwarnings("ignore")
def test_where_netcal_differs():
    """Its bins are closed on the left: a confidence on an edge falls in the bin above. At exactly 1 we agree."""
    from netcal.metrics import ECE

    logits, labels = np.array([[0.0, 0.0, -900.0], [0.5, 0.0, -900.0], [0.4, 0.0, -900.0]]), np.array([0, 1, 2])
    chances = softmax(logits)
    confidence = chances.max(axis=1)
    assert confidence[0] == 0.5  # ends the first of two bins, and is right; the other two are wrong
    assert expected_calibration_error(logits, labels, 2) == pytest.approx((0.5 + confidence[1:].sum()) / 3)
    assert ECE(2).measure(chances, labels) == pytest.approx(abs(1 - confidence.sum()) / 3)
    certain, labels = np.array([[900.0, 0.0, 0.0]] * 3 + [[3.0, 0.0, 0.0]]), np.array([0, 1, 2, 0])
    assert expected_calibration_error(certain, labels) == pytest.approx(ECE(15).measure(softmax(certain), labels))


def test_exactly_one_has_no_bin_of_its_own():
    """Where floor(confidence x bins) would make a sixteenth."""
    logits, labels = np.array([[1000.0, 0.0]] * 3 + [[3.0, 0.0]]), np.array([0, 1, 1, 0])
    confidence, correct = top_label(logits, labels)
    assert (confidence * 15).astype(int).tolist() == [15, 15, 15, 14]
    apart = abs(1 - 3) / 4 + (1 - confidence[3]) / 4
    shared = abs((correct - confidence).sum()) / 4
    assert apart > shared + 0.01
    assert expected_calibration_error(logits, labels) == pytest.approx(shared)


@pytest.mark.parametrize("bins", [2, 10, 15])
def test_the_curve_equals_sklearn_with_a_confidence_of_one(bins):
    logits, labels = drawn(scale=3)
    logits[:40] = [1000.0] + [0.0] * 9
    confidence, correct = top_label(logits, labels)
    assert (confidence == 1).sum() >= 40
    rate, mean = calibration_curve(correct, confidence, n_bins=bins)
    index = equal_width_bins(confidence, bins)
    count = np.bincount(index, minlength=bins)
    filled = count > 0
    assert count.sum() == len(labels)
    assert (np.bincount(index, correct, bins)[filled] / count[filled]) == pytest.approx(rate)
    assert (np.bincount(index, confidence, bins)[filled] / count[filled]) == pytest.approx(mean)
    expected = (np.abs(rate - mean) * count[filled]).sum() / len(labels)
    assert expected_calibration_error(logits, labels, bins) == pytest.approx(expected)


@settings(max_examples=60)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.integers(1, 40))
def test_bins_are_those_of_a_search(values, bins):
    confidence = np.array(values)
    assert (equal_width_bins(confidence, bins) == np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidence)).all()


@settings(max_examples=60)
@given(st.lists(st.sampled_from([0.1, 0.3, 0.5, 0.50001, 0.9, 1.0]), min_size=1, max_size=40), st.integers(1, 20))
def test_equal_confidences_share_a_bin_of_mass(values, bins):
    confidence = np.array(values)
    index = equal_mass_bins(confidence, bins)
    order = np.argsort(confidence)
    assert (np.diff(index[order]) >= 0).all()
    assert ((np.diff(confidence[order]) > 0) | (np.diff(index[order]) == 0)).all()
    assert 0 <= index.min() <= index.max() < bins


def test_bins_of_mass_are_equal():
    confidence = np.random.default_rng(0).permutation(np.arange(300) / 300)
    assert np.bincount(equal_mass_bins(confidence, 15)).tolist() == [20] * 15
    assert np.bincount(equal_mass_bins(confidence[:7], 3)).tolist() == [3, 2, 2]


@pytest.mark.parametrize("mass", [False, True])
def test_norms_by_loop(mass):
    logits, labels = drawn()
    confidence, correct = top_label(logits, labels)
    index = equal_mass_bins(confidence, 15) if mass else equal_width_bins(confidence, 15)
    parts = by_loop(confidence, correct, index)
    n = len(labels)
    expected = {
        "l1": sum(c * abs(g) for c, g, _ in parts) / n,
        "l2": np.sqrt(sum(c * g**2 for c, g, _ in parts) / n),
        "max": max(abs(g) for _, g, _ in parts),
    }
    for norm, value in expected.items():
        assert expected_calibration_error(logits, labels, mass=mass, norm=norm) == pytest.approx(value)
    squared = sum(c * (g**2 - a * (1 - a) / (c - 1)) for c, g, a in parts if c > 1) / n
    assert debiased_calibration_error(logits, labels, mass=mass) == pytest.approx(np.sqrt(max(squared, 0)))


def test_debiasing_by_hand():
    """Four samples at 0.9 of which two are right: (0.4)^2 - 0.5 0.5 / 3."""
    logits, labels = sure([0.9] * 4), np.array([0, 0, 1, 1])
    assert debiased_calibration_error(logits, labels) == pytest.approx(np.sqrt(0.16 - 0.25 / 3))
    assert expected_calibration_error(logits, labels, norm="l2") == pytest.approx(0.4)
    assert debiased_calibration_error(logits[:1], labels[:1]) == 0


def test_debiasing_takes_off_the_bias():
    """Over calibrated samples the square averages to zero, where the plain one does not."""
    rng = np.random.default_rng(0)
    plain, debiased = [], []
    for _ in range(300):
        confidence = rng.uniform(0.5, 1, 200)
        correct = rng.random(200) < confidence
        plain.append(unweighted(binned_error(confidence, correct, norm="l2", mass=True), 200) ** 2)
        debiased.append(unweighted(debiased_error(confidence, correct), 200) ** 2)
    assert np.mean(plain) > 0.01
    assert np.mean(debiased) < 0.4 * np.mean(plain)  # what is left is the cut at zero


@pytest.mark.parametrize("true_gap", [0.0, 0.1])
def test_the_debiased_interval_covers_the_truth(true_gap):
    rng = np.random.default_rng(1)
    held = 0
    for seed in range(60):
        confidence = rng.uniform(0.6, 0.95, 400)
        labels = np.where(rng.random(400) < confidence - true_gap, 0, 1)
        found = estimate("ece-debiased", sure(confidence), labels, draws=200, seed=seed)
        held += found.low <= true_gap <= found.high
    assert held >= 52


def test_over_and_underconfidence_are_the_two_halves():
    logits, labels = drawn(scale=1)
    over, under = overconfidence_error(logits, labels), underconfidence_error(logits, labels)
    assert over + under == pytest.approx(expected_calibration_error(logits, labels))
    assert min(over, under) > 0
    assert overconfidence_error(sure([0.9, 0.8]), np.array([1, 1])) == pytest.approx(0.85)
    assert underconfidence_error(sure([0.9, 0.8]), np.array([1, 1])) == 0
    assert underconfidence_error(sure([0.9, 0.8]), np.array([0, 0])) == pytest.approx(0.15)


@pytest.mark.parametrize("function", [expected_calibration_error, debiased_calibration_error, overconfidence_error])
def test_no_bins_are_refused(function):
    with pytest.raises(InputError, match=r"^bins=0: must be at least 1$"):
        function(*drawn(10), bins=0)


def test_an_unknown_norm_is_refused():
    with pytest.raises(InputError, match=r"^norm='l3': must be 'l1', 'l2' or 'max'$"):
        expected_calibration_error(*drawn(10), norm="l3")


@pytest.mark.parametrize("seed", range(4))
def test_top_label_is_that_of_predictions(seed):
    logits = np.random.default_rng(seed).integers(-1, 2, size=(500, 3 + seed)).astype(np.float32)  # with ties
    labels = np.random.default_rng(seed + 9).integers(0, 3, 500)
    whole = Predictions.from_logits(logits, labels)
    for rows in (1, 7, 500):
        confidence, correct = top_label(logits, labels, rows)
        assert confidence == pytest.approx(whole.confidence, rel=1e-15)
        assert (correct == whole.correct).all()


@settings(max_examples=40)
@given(st.integers(1, 30), st.integers(2, 5), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1.0, 60.0]))
def test_bounds_and_order(n, classes, seed, scale):
    rng = np.random.default_rng(seed)
    logits, labels = scale * rng.normal(size=(n, classes)), rng.integers(0, classes, n)
    order = rng.permutation(n)
    for name in METRICS.classes:
        metric = METRICS.parse(name)
        value = metric(Predictions.from_logits(logits, labels))
        assert 0 <= value <= {"brier": 2 + 1e-12, "brier-reliability": 2 + 1e-12, "nll": np.inf}.get(name, 1 + 1e-12)
        shuffled = Predictions.from_logits(logits[order], labels[order])
        assert metric(shuffled) == pytest.approx(value, rel=1e-9, abs=1e-12)
    l1, l2, worst = (expected_calibration_error(logits, labels, norm=norm) for norm in ("l1", "l2", "max"))
    assert l1 <= l2 + 1e-12 <= worst + 2e-12


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 30), st.integers(2, 5), st.integers(0, 2**32 - 1), st.lists(st.integers(1, 29), max_size=3))
def test_batches_do_not_matter(n, classes, seed, cuts):
    """Predictions that came in batches cut anywhere have the same metrics."""
    rng = np.random.default_rng(seed)
    logits, labels = 3 * rng.normal(size=(n, classes)), rng.integers(0, classes, n)
    ends = [0, *sorted({cut for cut in cuts if cut < n}), n]
    parts = [Predictions.from_logits(logits[a:b], labels[a:b]) for a, b in itertools.pairwise(ends)]
    names = [field.name for field in dataclasses.fields(Predictions) if field.name != "samples"]
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    whole = Predictions.from_logits(logits, labels)
    for name in METRICS.classes:
        metric = METRICS.parse(name)
        assert metric(Predictions(samples=whole.samples, **joined)) == pytest.approx(metric(whole), rel=1e-12)
