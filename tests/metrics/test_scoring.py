import dataclasses

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn_metrics
from sklearn.metrics import brier_score_loss, log_loss

from robusteval.core.errors import InputError
from robusteval.core.types import Predictions
from robusteval.metrics import (
    METRICS,
    accuracy_score,
    adaptive_calibration_error,
    area_under_risk_coverage,
    brier_score,
    classwise_calibration_error,
    coverage_at_accuracy,
    debiased_calibration_error,
    estimate,
    excess_area_under_risk_coverage,
    expected_calibration_error,
    ks_error,
    maximum_calibration_error,
    measurable,
    negative_log_likelihood,
    overconfidence_error,
    smooth_calibration_error,
    thresholded_calibration_error,
    underconfidence_error,
)

FUNCTIONS = {
    "accuracy": accuracy_score,
    "ace": adaptive_calibration_error,
    "aurc": area_under_risk_coverage,
    "brier": brier_score,
    "coverage": coverage_at_accuracy,
    "e-aurc": excess_area_under_risk_coverage,
    "ece": expected_calibration_error,
    "ece-classwise": classwise_calibration_error,
    "ece-debiased": debiased_calibration_error,
    "ks": ks_error,
    "mce": maximum_calibration_error,
    "nll": negative_log_likelihood,
    "overconfidence": overconfidence_error,
    "smooth-ece": smooth_calibration_error,
    "tace": thresholded_calibration_error,
    "underconfidence": underconfidence_error,
}
RNG = np.random.default_rng(0)
LOGITS = RNG.normal(scale=3, size=(400, 7)).astype(np.float32)
LABELS = RNG.integers(0, 7, 400)


def softmax(logits: np.ndarray) -> np.ndarray:
    scores = np.exp(logits.astype(np.float64))
    return scores / scores.sum(axis=1, keepdims=True)


REFERENCES = {
    "accuracy": lambda: sklearn_metrics.accuracy_score(LABELS, LOGITS.argmax(axis=1)),
    "nll": lambda: log_loss(LABELS, softmax(LOGITS), labels=range(7)),
    "brier": lambda: ((softmax(LOGITS) - np.eye(7)[LABELS]) ** 2).sum(axis=1).mean(),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_equals_the_reference(name):
    assert FUNCTIONS[name](LOGITS, LABELS) == pytest.approx(REFERENCES[name](), abs=1e-12)


def test_two_classes_have_twice_sklearns_brier_loss():
    logits, labels = LOGITS[:, :2], LABELS % 2
    assert brier_score(logits, labels) == pytest.approx(2 * brier_score_loss(labels, softmax(logits)[:, 1]), abs=1e-12)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_component_and_function_are_one(name):
    predictions = Predictions.from_logits(LOGITS, LABELS)
    assert METRICS.parse(name)(predictions) == pytest.approx(FUNCTIONS[name](LOGITS, LABELS), rel=1e-11)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_tensors_lists_and_narrow_labels_will_do(name):
    expected = FUNCTIONS[name](LOGITS, LABELS)
    for logits, labels in (
        (torch.from_numpy(LOGITS), torch.from_numpy(LABELS)),
        (LOGITS.astype(np.float64), LABELS.astype(np.uint8)),
        (LOGITS.tolist(), LABELS.tolist()),
    ):
        assert FUNCTIONS[name](logits, labels) == expected


@pytest.mark.parametrize(
    ("logits", "labels", "said"),
    [
        (LOGITS[:0], LABELS[:0], r"^logits=\(0, 7\): must have shape \[n, k\] with n >= 1$"),
        (LOGITS[0], LABELS[:1], r"^logits=\(7,\): must have shape"),
        (LOGITS[:3], LABELS[:2], r"^labels=\(2,\): must have shape \[3\]$"),
        (LOGITS[:2] * np.nan, LABELS[:2], "^logits='nan or inf': must be finite$"),
        (LOGITS[:2] + np.inf, LABELS[:2], "^logits='nan or inf': must be finite$"),
        (LOGITS[:2], [0, 7], r"^labels=\(0, 7\): must be in 0\.\.6$"),
        (LOGITS[:2], [-1, 0], r"^labels=\(-1, 0\): must be in 0\.\.6$"),
        (LOGITS[:2], [0.5, 1.5], "^labels='float64': must be an array of integers$"),
        (LOGITS[:2], ["cat", "dog"], "^labels='<U3': must be an array of integers$"),
        (LOGITS[:2].astype(str), [0, 1], "^logits='<U.*': must be an array of numbers$"),
    ],
)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_bad_input_is_named(name, logits, labels, said):
    with pytest.raises(InputError, match=said):
        FUNCTIONS[name](logits, labels)


def test_sharp_logits_lose_nothing():
    """In float32 the first chance would round to 1 and the second to 0."""
    logits = np.array([[30.0, 0.0], [200.0, 0.0]], dtype=np.float32)
    predictions = Predictions.from_logits(logits, np.array([1, 1]))
    assert predictions.nll == pytest.approx([30 + np.exp(-30.0), 200], rel=1e-15)
    assert predictions.brier == pytest.approx([2 * (1 - np.exp(-30.0)) ** 2, 2], rel=1e-13)
    assert predictions.margin.tolist() == [-30, -200]
    for name in ("confidence", "nll", "brier", "margin"):
        assert getattr(predictions, name).dtype == np.float64


def test_large_logits_do_not_overflow():
    predictions = Predictions.from_logits(np.array([[1e30, -1e30]], dtype=np.float32), np.array([0]))
    assert (predictions.nll[0], predictions.brier[0], predictions.confidence[0]) == (0, 0, 1)


def test_a_tie_goes_to_the_first_class():
    predictions = Predictions.from_logits(np.zeros((2, 3), dtype=np.float32), np.array([0, 1]))
    assert predictions.correct.tolist() == [True, False]
    assert predictions.margin.tolist() == [0, 0]


def test_accuracy_has_wilsons_interval():
    two_of_ten = Predictions.from_logits(np.eye(10, dtype=np.float32), np.array([0, 1] + [0] * 8))
    assert estimate(METRICS.parse("accuracy"), two_of_ten) == pytest.approx((0.2, 0.0567, 0.5098), abs=1e-4)


def test_estimates_from_logits_are_those_of_predictions():
    found = estimate("brier", LOGITS, LABELS, draws=50, seed=1)
    assert found == estimate(METRICS.parse("brier"), Predictions.from_logits(LOGITS, LABELS), draws=50, seed=1)
    assert found == estimate("brier", torch.from_numpy(LOGITS), LABELS.tolist(), draws=50, seed=1)
    assert found.value == pytest.approx(brier_score(LOGITS, LABELS), rel=1e-14)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ece", LOGITS), "labels=None: must be given with logits"),
        (("ece", LOGITS * np.nan, LABELS), "logits='nan or inf': must be finite"),
        (("ece", LOGITS, LABELS, 0), "draws=0: must be at least 1"),
        ((expected_calibration_error, LOGITS, LABELS), "must be a metric or its spec"),
    ],
)
def test_what_cannot_be_estimated_is_named(arguments, said):
    with pytest.raises(InputError, match=said):
        estimate(*arguments)


def test_without_logits_the_metrics_that_need_them_are_left_out():
    whole = Predictions.from_logits(LOGITS, LABELS)
    assert set(measurable(whole)) == set(METRICS.classes)
    kept = set(measurable(dataclasses.replace(whole, logits=None)))
    assert set(METRICS.classes) - kept == {"ace", "brier-reliability", "brier-resolution", "ece-classwise", "tace"}
