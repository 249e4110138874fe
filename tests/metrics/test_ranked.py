import numpy as np
import pytest

from robusteval.core.errors import InputError
from robusteval.metrics import (
    METRICS,
    accuracy_score,
    area_under_risk_coverage,
    coverage_at_accuracy,
    excess_area_under_risk_coverage,
    ks_error,
)
from robusteval.metrics.functional.validate import top_label

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(500, 6)) * 2
LABELS = np.where(RNG.random(500) < 0.6, LOGITS.argmax(axis=1), RNG.integers(0, 6, 500))
CONFIDENCE, CORRECT = top_label(LOGITS, LABELS)


def sure(confidence):
    return np.log(np.stack([confidence, 1 - np.array(confidence)], axis=1))


def test_ks_by_loop():
    order = np.argsort(CONFIDENCE)
    gap, worst = 0.0, 0.0
    for i in order:
        gap += (CORRECT[i] - CONFIDENCE[i]) / 500
        worst = max(worst, abs(gap))
    assert ks_error(LOGITS, LABELS) == pytest.approx(worst)


def test_ks_reads_no_curve_inside_a_tie():
    """One right and one wrong at 0.75: the gaps 0.25 and -0.75 cannot be told apart, and add up to -0.5."""
    for labels in ([0, 1], [1, 0]):
        assert ks_error(sure([0.75, 0.75]), np.array(labels)) == pytest.approx(0.25)


def test_aurc_by_loop():
    order = np.argsort(-CONFIDENCE)
    risks = [(~CORRECT[order[: i + 1]]).mean() for i in range(500)]
    assert area_under_risk_coverage(LOGITS, LABELS) == pytest.approx(np.mean(risks))
    risk = 1 - accuracy_score(LOGITS, LABELS)
    best = risk + (1 - risk) * np.log(1 - risk)
    assert excess_area_under_risk_coverage(LOGITS, LABELS) == pytest.approx(np.mean(risks) - best)
    covered = [(i + 1) / 500 for i in range(500) if risks[i] <= 0.2]
    assert coverage_at_accuracy(LOGITS, LABELS, 0.8) == pytest.approx(max(covered))


def test_aurc_by_hand():
    labels = np.array([0, 1, 0])  # right, wrong, right from the most confident on
    assert area_under_risk_coverage(sure([0.9, 0.8, 0.7]), labels) == pytest.approx((0 + 1 / 2 + 1 / 3) / 3)
    assert area_under_risk_coverage(sure([0.8, 0.8, 0.8]), labels) == pytest.approx(
        1 / 3
    )  # all share the full coverage


def test_the_best_order_has_little_excess():
    confidence = np.linspace(0.99, 0.6, 2000)
    labels = (np.arange(2000) >= 1500).astype(int)
    assert excess_area_under_risk_coverage(sure(confidence), labels) < 1e-3
    assert excess_area_under_risk_coverage(sure(confidence), 1 - labels) > 0.1
    assert area_under_risk_coverage(sure(confidence), np.zeros(2000, int)) == 0
    assert area_under_risk_coverage(sure(confidence), np.ones(2000, int)) == 1


@pytest.mark.parametrize(
    ("wrong", "expected"), [([], 1.0), ([19], 1.0), ([0], 1.0), ([18, 19], 0.9), ([0, 1], 0.0), (range(20), 0.0)]
)
def test_coverage_by_hand(wrong, expected):
    labels = np.zeros(20, int)
    labels[list(wrong)] = 1
    assert coverage_at_accuracy(sure(np.linspace(0.99, 0.6, 20)), labels) == expected


@pytest.mark.parametrize("accuracy", [0, 1.5, -1])
def test_an_accuracy_outside_is_refused(accuracy):
    with pytest.raises(InputError, match="must be above 0 and at most 1"):
        coverage_at_accuracy(LOGITS, LABELS, accuracy)
    with pytest.raises(InputError, match="must be above 0 and at most 1"):
        METRICS.parse(f"coverage(accuracy={accuracy})")
