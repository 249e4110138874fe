"""What every metric keeps (DESIGN 8)."""

import dataclasses

import numpy as np
import pytest

from robusteval.core.errors import InputError
from robusteval.core.types import Predictions
from robusteval.metrics import METRICS, estimate
from robusteval.metrics.metric import Interval

N = 300
RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 5, N)
LOGITS = (RNG.normal(size=(N, 5)) * 2 + 2 * np.eye(5)[LABELS]).astype(np.float32)
WEIGHTS = RNG.integers(0, 4, N)
WHOLE = Predictions.from_logits(LOGITS, LABELS)


def rows(chosen: np.ndarray) -> Predictions:
    arrays = {field.name: getattr(WHOLE, field.name)[chosen] for field in dataclasses.fields(WHOLE)}
    return Predictions(**arrays)


# Weights of these are counts of samples: a correction for size is no ratio.
COUNTS = {"ece-debiased"}
# Bins or a bandwidth of these follow the samples, and stay those of the full sample whatever the weights (issue 6).
FITTED = {"ace", "ece-debiased", "ece-mass", "smooth-ece", "tace"}


@pytest.fixture(params=METRICS.classes)
def metric(request):
    return METRICS.parse(request.param)


def test_the_order_of_samples_does_not_matter(metric):
    assert metric(rows(RNG.permutation(N))) == pytest.approx(metric(WHOLE), rel=1e-12)


@pytest.mark.parametrize("size", [1, 7, 64])
def test_the_batches_that_predictions_came_in_do_not_matter(metric, size):
    parts = [Predictions.from_logits(LOGITS[at : at + size], LABELS[at : at + size]) for at in range(0, N, size)]
    arrays = {f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in dataclasses.fields(WHOLE)}
    assert metric(Predictions(**arrays)) == metric(WHOLE)


def test_weights_of_one_are_no_weights(metric):
    assert metric(WHOLE, np.ones(N)) == metric(WHOLE)
    if metric.name not in COUNTS:
        assert metric(WHOLE, np.full(N, 0.3)) == pytest.approx(metric(WHOLE), rel=1e-12)


def test_a_weight_of_three_is_three_samples(metric):
    weights = np.full(N, 3) if metric.name in FITTED else WEIGHTS
    repeated = rows(np.repeat(np.arange(N), weights))
    assert metric(WHOLE, weights) == pytest.approx(metric(repeated), rel=1e-12)


def test_weights_do_not_move_bins(metric):
    """The statistic is prepared once, and under weights equals the metric under them."""
    statistic = metric.statistic(WHOLE)
    assert statistic(WEIGHTS[None].astype(float)) == pytest.approx([metric(WHOLE, WEIGHTS)], rel=1e-12)
    assert statistic(np.ones((1, N))) == pytest.approx([metric(WHOLE)], rel=1e-12)


def test_many_rows_of_weights_are_each_its_own(metric):
    several = np.stack([np.ones(N), WEIGHTS, RNG.exponential(size=N)])
    found = metric.weighted(WHOLE, several)
    assert found.shape == (3,)
    assert found.dtype == np.float64
    assert found == pytest.approx([metric(WHOLE, row) for row in several], rel=1e-12)


def test_no_weight_at_all_is_no_number(metric):
    assert np.isnan(metric(WHOLE, np.zeros(N)))


def test_it_says_where_logits_are_needed(metric):
    without = dataclasses.replace(WHOLE, logits=None)
    if metric.needs_logits:
        with pytest.raises(InputError, match=f"metric '{metric.name}' needs them; .* --keep-logits"):
            metric(without)
    else:
        assert metric(without) == metric(WHOLE)


def test_a_spec_and_logits_will_do(metric):
    assert estimate(metric.name, LOGITS, LABELS, draws=20, seed=3) == estimate(metric, WHOLE, draws=20, seed=3)


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        ([[0.0, 2.0]], [1]),
        ([[0.0, 2.0]], [0]),
        ([[1.0, 1.0, 1.0]] * 6, [0, 1, 2, 0, 1, 2]),
        ([[0.0, 0.0]] * 5, [0] * 5),
        ([[900.0, 0.0, -900.0]] * 4, [0, 0, 0, 1]),
        ([[3.0, 1.0, -2.0], [0.5, 0.0, -9.0]], [0, 1]),
    ],
    ids=["one right", "one wrong", "all equal", "one class seen", "certain", "a class never seen"],
)
def test_the_ends_have_a_value(metric, logits, labels):
    found = estimate(metric, np.array(logits), np.array(labels), draws=60)
    assert np.isfinite(found).all()
    assert found.low <= found.value <= found.high


def test_the_estimate_holds_the_value_and_repeats(metric):
    found = estimate(metric, WHOLE, draws=100)
    assert found.low <= found.value <= found.high
    assert found.value == pytest.approx(metric(WHOLE), rel=1e-12)
    assert found == estimate(metric, WHOLE, draws=100)
    assert 0 < found.high - found.low < 1 or found.value == 0


def test_it_states_its_direction_and_interval(metric):
    assert isinstance(metric.higher_is_better, bool)
    assert metric.interval in Interval.__args__


def test_predictions_are_left_as_they_were(metric):
    before = {field.name: getattr(WHOLE, field.name).copy() for field in dataclasses.fields(WHOLE)}
    estimate(metric, WHOLE, draws=10)
    assert all((getattr(WHOLE, name) == array).all() for name, array in before.items())


def test_the_direction_is_true(metric):
    """A model that knows every label with certainty is no worse than any other."""
    perfect = metric(Predictions.from_logits((50 * np.eye(5)[LABELS]).astype(np.float32), LABELS))
    assert perfect >= metric(WHOLE) if metric.higher_is_better else perfect <= metric(WHOLE)
