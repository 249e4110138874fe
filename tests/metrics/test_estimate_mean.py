"""Means of a metric over views of the same samples."""

import numpy as np
import pytest

from robusteval.core.errors import InputError
from robusteval.core.statistics import poisson_weights
from robusteval.metrics import METRICS, Predictions, estimate, estimate_mean

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 4, 200)
VIEWS = [Predictions.from_logits(RNG.normal(size=(200, 4)) * scale, LABELS, np.arange(200) * 2) for scale in (1, 3, 5)]


@pytest.mark.parametrize("name", ["accuracy", "nll", "ece", "aurc"])
def test_one_view_is_its_own_mean(name):
    mean, alone = estimate_mean(name, VIEWS[:1]), estimate(name, VIEWS[0])
    assert mean.value == pytest.approx(alone.value)
    if METRICS.parse(name).interval != "wilson":
        assert mean == pytest.approx(alone)


@pytest.mark.parametrize("name", ["brier", "ece"])
def test_a_draw_weighs_a_sample_in_all_views(name):
    metric, found = METRICS.parse(name), estimate_mean(name, VIEWS, draws=100, seed=5)
    drawn = [np.mean([metric(view, row) for view in VIEWS]) for row in poisson_weights(VIEWS[0].samples, 100, 5)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    value = np.mean([metric(view) for view in VIEWS])
    expected = (low, high) if name == "brier" else (max(0, 2 * value - high), 2 * value - low)
    assert found == pytest.approx((value, min(value, expected[0]), max(value, expected[1])))


def test_copies_of_a_view_are_no_more_certain():
    assert estimate_mean("nll", VIEWS[:1] * 5) == pytest.approx(estimate("nll", VIEWS[0]))


@pytest.mark.parametrize(
    ("metric", "views", "said"),
    [
        ("ece", [], "views=0: must be at least one"),
        ("ece", [VIEWS[0], Predictions.from_logits(np.eye(4), np.arange(4))], "views=2: must hold the same samples"),
        ("ece-debiased", VIEWS, "metric='ece-debiased': has an interval of its own"),
    ],
)
def test_what_has_no_mean_is_named(metric, views, said):
    with pytest.raises(InputError, match=said):
        estimate_mean(metric, views)


@pytest.mark.parametrize("name", ["ece", "nll", "ks", "aurc", "accuracy"])
def test_answers_that_are_no_numbers_are_refused(name):
    logits = RNG.normal(size=(200, 4))
    logits[3, 1] = np.nan
    broken = Predictions.from_logits(logits, LABELS, np.arange(200))
    with pytest.raises(InputError, match="predictions=1: must be of finite logits"):
        estimate(name, broken)
    with pytest.raises(InputError, match="predictions=0: must hold at least one sample"):
        estimate(name, Predictions.from_logits(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0, np.int64)))
    with pytest.raises(InputError, match="predictions=1: must be of finite logits"):
        estimate_mean(name, [broken])


@pytest.mark.parametrize("name", [name for name, metric in METRICS.classes.items() if np.isfinite(metric.most)])
@pytest.mark.parametrize("n", [1, 5, 100])
def test_no_interval_leaves_the_range(name, n):
    for seed in range(3):
        few = Predictions.from_logits(np.random.default_rng(seed).normal(size=(n, 4)), LABELS[:n], np.arange(n))
        found = estimate(name, few, draws=200)
        assert 0 <= found.low <= found.value <= found.high <= METRICS.classes[name].most
