import numpy as np
import pytest

from robusteval.core.errors import InputError
from robusteval.metrics import METRICS, Predictions, accuracy_score, expected_calibration_error
from robusteval.metrics.functional.calibration import equal_width_bins


def logits_of(confidence: list[float]) -> np.ndarray:
    """Two-class logits, in float64, whose first class has these probabilities."""
    chance = np.array(confidence)
    with np.errstate(divide="ignore"):
        return np.stack([np.log(chance).clip(-800), np.log1p(-chance).clip(-800)], axis=1)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("n", "classes", "scale"), [(500, 10, 1.0), (2000, 3, 3.0), (37, 100, 0.1), (1000, 10, 8.0)])
@pytest.mark.parametrize("bins", [15, 10])
def test_equals_netcal_inside_the_bins(n, classes, scale, bins):
    from netcal.metrics import ECE

    rng = np.random.default_rng(n)
    logits = rng.normal(scale=scale, size=(n, classes))
    labels = np.where(rng.random(n) < 0.6, logits.argmax(axis=1), rng.integers(0, classes, n))
    predictions = Predictions.from_logits(logits, labels)
    inside = predictions.confidence < 1  # of exactly 1 and of edges: test_calibration_error.py
    chances = np.exp(logits - logits.max(axis=1, keepdims=True))
    chances /= chances.sum(axis=1, keepdims=True)
    known = ECE(bins).measure(chances[inside], labels[inside])
    assert expected_calibration_error(logits[inside], labels[inside], bins) == pytest.approx(known, abs=1e-12)


@pytest.mark.parametrize("bins", [1, 2, 5, 15, 100])
def test_bins_are_closed_on_the_right(bins):
    edges = np.linspace(0, 1, bins + 1)
    assert equal_width_bins(edges, bins).tolist() == [0, *range(bins)]
    assert equal_width_bins(np.nextafter(edges[:-1], 1), bins).tolist() == list(range(bins))


def test_full_confidence_is_in_the_last_bin():
    logits, labels = np.array([[1000.0, 0.0]] * 4), np.array([0, 0, 0, 1])
    assert Predictions.from_logits(logits, labels).confidence.tolist() == [1.0] * 4
    assert equal_width_bins(np.array([0.999, 1.0]), 15).tolist() == [14, 14]
    assert expected_calibration_error(logits, labels) == 0.25


@pytest.mark.parametrize(
    ("confidence", "correct", "bins", "expected"),
    [
        ([0.9, 0.8], [True, True], 2, 0.15),
        ([0.9, 0.8], [True, False], 2, 0.35),
        # 0.75 ends its bin, so both share it and their gaps cancel; (0.75 - 1) and (0.76 - 0) apart would not.
        ([0.75, 0.75], [True, False], 4, 0.25),
        ([0.74, 0.76], [True, False], 4, (0.26 + 0.76) / 2),
        ([0.74, 0.75], [True, False], 4, abs(0.26 - 0.75) / 2),
        ([1.0, 0.6, 0.6, 0.6], [True, True, True, False], 5, 3 / 4 * (2 / 3 - 0.6)),
    ],
)
def test_cases_by_hand(confidence, correct, bins, expected):
    labels = np.where(correct, 0, 1)
    assert expected_calibration_error(logits_of(confidence), labels, bins) == pytest.approx(expected, abs=1e-12)


def test_one_bin_is_accuracy_against_confidence():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(300, 4)), rng.integers(0, 4, 300)
    confidence = Predictions.from_logits(logits, labels).confidence.mean()
    expected = abs(accuracy_score(logits, labels) - confidence)
    assert expected_calibration_error(logits, labels, bins=1) == pytest.approx(expected, abs=1e-14)


def test_a_calibrated_predictor_has_no_error():
    confidence = np.repeat([0.55, 0.65, 0.75, 0.85, 0.95], 100)
    rank = np.tile(np.arange(100), 5)
    labels = np.where(rank < (100 * confidence).round(), 0, 1)
    assert expected_calibration_error(logits_of(confidence), labels, bins=10) == pytest.approx(0, abs=1e-13)


def test_the_component_states_its_bins():
    assert METRICS.parse("ece(bins=10)").spec == "ece(bins=10)"
    with pytest.raises(InputError, match="bins=0: must be at least 1"):
        METRICS.parse("ece(bins=0)")
