import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from robusteval.core.statistics import (
    basic_interval,
    percentile_interval,
    poisson_weights,
    resample,
    wilson,
)
from robusteval.metrics import METRICS, Predictions, estimate


@pytest.mark.parametrize(("successes", "n"), [(0, 1), (1, 1), (0, 20), (9, 10), (20, 20), (733, 1000), (1, 10_000)])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_wilson_is_scipys(successes, n, level):
    known = stats.binomtest(successes, n).proportion_ci(level, method="wilson")
    found = wilson(successes, n, level)
    assert found.value == successes / n
    assert found[1:] == pytest.approx((known.low, known.high), abs=1e-12)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_resampling_weights_depend_on_id_and_seed_alone():
    ids = np.array([7, 3, 9_999, 0])
    weights = poisson_weights(ids, draws=50)
    assert (weights.shape, weights.dtype) == ((50, 4), np.uint8)
    assert (poisson_weights(ids[::-1].copy(), draws=50) == weights[:, ::-1]).all()
    assert (poisson_weights(ids[1:2], draws=50)[:, 0] == weights[:, 1]).all()
    assert (poisson_weights(ids, draws=20) == weights[:20]).all()
    assert (poisson_weights(ids, draws=50, seed=1) != weights).any()


def test_resampling_weights_are_poisson():
    weights = poisson_weights(np.arange(2000), draws=20)
    counts = np.bincount(weights.ravel().clip(max=5), minlength=6)
    law = np.array([*stats.poisson.pmf(range(5), 1), stats.poisson.sf(4, 1)])
    assert stats.chisquare(counts, law * weights.size).pvalue > 1e-4


def test_resample_is_the_same_in_any_chunks_and_leaves_out_empty_draws():
    values = np.random.default_rng(0).normal(size=3)
    weights = poisson_weights(np.arange(3), draws=300)

    def mean(rows):
        with np.errstate(invalid="ignore"):
            return rows @ values / rows.sum(axis=1)

    whole = resample(mean, weights)
    assert len(whole) == (weights.sum(axis=1) > 0).sum() < 300
    for chunk in (1, 7, 300):
        assert resample(mean, weights, chunk) == pytest.approx(whole, abs=1e-15)


def test_the_percentile_interval_of_a_mean_covers_it():
    n, trials, draws = 100, 400, 300
    samples = np.random.default_rng(1).exponential(size=(trials, n))
    weights = poisson_weights(np.arange(n), draws).astype(np.float64)
    means = samples @ weights.T / weights.sum(axis=1)
    intervals = [percentile_interval(float(row.mean()), drawn) for row, drawn in zip(samples, means, strict=True)]
    covered = sum(low <= 1 <= high for _, low, high in intervals)
    # A skewed law at n=100 costs the percentile interval a point or two of its 95%.
    assert stats.binomtest(covered, trials, 0.94).pvalue > 1e-3


def test_the_two_intervals_mirror_each_other():
    drawn = np.random.default_rng(2).normal(0.5, 0.05, 2000)
    percentile, basic = percentile_interval(0.48, drawn), basic_interval(0.48, drawn)
    assert basic.low == pytest.approx(2 * 0.48 - percentile.high)
    assert basic.high == pytest.approx(max(0.48, 2 * 0.48 - percentile.low))


finite = st.floats(0, 1, allow_subnormal=False)


@given(finite, st.lists(finite, min_size=1, max_size=30))
def test_an_interval_holds_its_value(value, drawn):
    for interval in (percentile_interval, basic_interval):
        found = interval(value, np.array(drawn))
        assert 0 <= found.low <= found.value == value <= found.high


@settings(max_examples=30)
@given(st.integers(1, 12), st.integers(2, 5), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1.0, 50.0]))
def test_an_estimate_holds_its_value_at_any_size(n, classes, seed, scale):
    rng = np.random.default_rng(seed)
    logits = (scale * rng.normal(size=(n, classes))).astype(np.float32)
    predictions = Predictions.from_logits(logits, rng.integers(0, classes, n))
    for name in METRICS.classes:
        found = estimate(METRICS.parse(name), predictions, draws=40)
        assert not math.isnan(found.value)
        assert found.low <= found.value <= found.high


def test_the_basic_interval_moves_back_by_the_bias():
    """A calibrated predictor's ECE is above 0 at small n; its interval must come down to 0 all the same."""
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(200, 3)).astype(np.float32) * 2
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (chances.cumsum(axis=1) > rng.random((200, 1))).argmax(axis=1)
    found = estimate(METRICS.parse("ece"), Predictions.from_logits(logits, labels), draws=300)
    assert found.value > 0.02
    assert found.low == 0
