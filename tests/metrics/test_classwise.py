import numpy as np
import pytest

from robusteval.core.errors import InputError
from robusteval.metrics import (
    METRICS,
    adaptive_calibration_error,
    brier_decomposition,
    brier_score,
    classwise_calibration_error,
    thresholded_calibration_error,
)
from robusteval.metrics.functional.bins import equal_mass_bins, equal_width_bins
from robusteval.metrics.functional.validate import softmax

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(600, 4)) * 2
LABELS = np.where(RNG.random(600) < 0.6, LOGITS.argmax(axis=1), RNG.integers(0, 4, 600))
CHANCES = softmax(LOGITS)


def error_of_class(chance, outcome, index):
    groups = [index == b for b in np.unique(index)]
    return sum(g.sum() * abs(outcome[g].mean() - chance[g].mean()) for g in groups) / len(index)


def test_classwise_by_loop():
    parts = [error_of_class(CHANCES[:, k], k == LABELS, equal_width_bins(CHANCES[:, k], 15)) for k in range(4)]
    assert classwise_calibration_error(LOGITS, LABELS) == pytest.approx(np.mean(parts))


@pytest.mark.filterwarnings("ignore")
def test_a_class_alone_equals_netcal():
    from netcal.metrics import ECE

    parts = [ECE(15).measure(CHANCES[:, k], (k == LABELS).astype(int)) for k in range(4)]
    assert classwise_calibration_error(LOGITS, LABELS) == pytest.approx(np.mean(parts))


def test_adaptive_is_the_plain_mean_over_bins_of_one_size():
    gaps = []
    for k in range(4):
        index = equal_mass_bins(CHANCES[:, k], 15)
        assert (np.bincount(index) == 40).all()
        gaps += [abs((k == LABELS)[index == b].mean() - CHANCES[index == b, k].mean()) for b in range(15)]
    assert adaptive_calibration_error(LOGITS, LABELS) == pytest.approx(np.mean(gaps))


@pytest.mark.parametrize("threshold", [0.01, 0.3])
def test_the_thresholded_one_leaves_out_small_chances(threshold):
    parts = []
    for k in range(4):
        kept = CHANCES[:, k] > threshold
        chance = CHANCES[kept, k]
        parts.append(error_of_class(chance, (k == LABELS)[kept], equal_mass_bins(chance, 15)))
    assert thresholded_calibration_error(LOGITS, LABELS, threshold=threshold) == pytest.approx(np.mean(parts))


def test_no_chance_above_the_threshold_is_no_error():
    assert thresholded_calibration_error(np.zeros((6, 3)), np.arange(6) % 3, threshold=0.5) == 0
    assert thresholded_calibration_error(LOGITS, LABELS, threshold=0) == pytest.approx(
        adaptive_calibration_error(LOGITS, LABELS)
    )


@pytest.mark.parametrize("threshold", [-0.1, 1.0])
def test_a_threshold_outside_is_refused(threshold):
    with pytest.raises(InputError, match=r"must be in \[0, 1\)"):
        thresholded_calibration_error(LOGITS, LABELS, threshold=threshold)
    with pytest.raises(InputError, match=r"must be in \[0, 1\)"):
        METRICS.parse(f"tace(threshold={threshold})")


def test_a_class_never_seen_counts_its_mean_chance():
    logits, labels = np.log([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]]), np.array([0, 1])
    assert classwise_calibration_error(logits, labels) == pytest.approx((0 + 0.2 + 0.2) / 3)


def test_brier_by_hand():
    """Forecasts constant in their bins: Murphy's three parts are the score."""
    logits = np.log([[0.75, 0.25]] * 4 + [[0.25, 0.75]] * 4)
    parts = brier_decomposition(logits, np.array([0, 0, 0, 0, 1, 1, 0, 1]), bins=10)
    # Class 0 comes 5 of 8 times: 4 of 4 at 0.75, 1 of 4 at 0.25; class 1 mirrors it.
    assert parts.reliability == pytest.approx(2 * (0.25**2 + 0) / 2)
    assert parts.resolution == pytest.approx(2 * (0.375**2 + 0.375**2) / 2)
    assert parts.uncertainty == pytest.approx(2 * 0.625 * 0.375)
    assert parts.within == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("bins", [1, 5, 15])
def test_brier_parts_add_up(bins):
    """What forecasts differ by inside a bin: variance less twice the covariance with the outcome."""
    parts = brier_decomposition(LOGITS, LABELS, bins)
    within = 0.0
    for k in range(4):
        index = equal_width_bins(CHANCES[:, k], bins)
        for b in np.unique(index):
            chance, outcome = CHANCES[index == b, k], (k == LABELS)[index == b]
            away = chance - chance.mean()
            within += (away**2).sum() - 2 * (away * (outcome - outcome.mean())).sum()
    assert parts.within == pytest.approx(within / 600)
    total = parts.reliability - parts.resolution + parts.uncertainty + parts.within
    assert total == pytest.approx(brier_score(LOGITS, LABELS), rel=1e-14)
    shares = np.bincount(LABELS) / 600
    assert parts.uncertainty == pytest.approx((shares * (1 - shares)).sum())


def test_a_forecast_of_the_shares_resolves_nothing():
    shares = np.bincount(LABELS) / 600
    parts = brier_decomposition(np.log(np.tile(shares, (600, 1))), LABELS)
    assert parts == pytest.approx((0, 0, parts.uncertainty, 0), abs=1e-12)


@pytest.mark.filterwarnings("ignore")
def test_the_adaptive_error_equals_netcals_average_over_bins_of_one_size():
    """600 samples are 15 bins of 40 for each class; netcal's ACE is the plain mean over bins."""
    from netcal.metrics import ACE

    average = ACE(15, equal_intervals=False)
    parts = [average.measure(CHANCES[:, k], (k == LABELS).astype(int)) for k in range(4)]
    assert adaptive_calibration_error(LOGITS, LABELS) == pytest.approx(np.mean(parts))


@pytest.mark.filterwarnings("ignore")
def test_where_netcals_average_error_differs():
    """Tied probabilities share a bin here, and it counts by its size; there every bin counts alike."""
    from netcal.metrics import ACE

    chance = np.array([0.2, 0.2, 0.2, 0.9])
    logits, labels = np.log(np.stack([1 - chance, chance], axis=1)), np.array([0, 0, 0, 0])
    assert adaptive_calibration_error(logits, labels, bins=4) == pytest.approx((3 * 0.2 + 0.9) / 4)
    by_netcal = ACE(4).measure(chance, labels)  # equal width: one bin of three samples, one of one
    assert by_netcal == pytest.approx((0.2 + 0.9) / 2)
