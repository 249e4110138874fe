import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from robusteval.metrics import smooth_calibration_error
from robusteval.metrics.functional.smooth import NARROWEST
from robusteval.metrics.functional.validate import top_label


def by_images(confidence, correct, width, points=4000):
    """The integral with the kernel summed over its mirror images, at the middles of cells."""
    t = (np.arange(points) + 0.5) / points
    smoothed = np.zeros(points)
    for shift in range(-4, 5, 2):
        for centre in (shift + confidence, shift - confidence):
            smoothed += norm.pdf(t[:, None], centre, width) @ (correct - confidence)
    return np.abs(smoothed).mean() / len(confidence)


@pytest.mark.parametrize(("n", "right"), [(60, 0.9), (200, 0.5), (200, 0.2)])
def test_equals_the_definition(n, right):
    rng = np.random.default_rng(n)
    logits = rng.normal(size=(n, 3)) * 2
    labels = np.where(rng.random(n) < right, logits.argmax(axis=1), rng.integers(0, 3, n))
    confidence, correct = top_label(logits, labels)
    width = brentq(lambda w: by_images(confidence, correct, w) - w, 0.005, 1, xtol=1e-6)
    assert smooth_calibration_error(logits, labels) == pytest.approx(width, abs=2e-5)


def test_a_calibrated_forecast_has_next_to_none():
    logits = np.log([[0.5, 0.5]] * 1000)
    assert smooth_calibration_error(logits, np.arange(1000) % 2) < NARROWEST


def test_a_constant_gap_is_itself():
    logits = np.log([[0.8, 0.2]] * 10)
    assert smooth_calibration_error(logits, np.array([0] * 5 + [1] * 5)) == pytest.approx(0.3)
    assert smooth_calibration_error(np.array([[900.0, 0.0]]), np.array([1])) == pytest.approx(1)
