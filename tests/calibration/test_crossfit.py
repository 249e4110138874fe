import numpy as np
import pytest

from robusteval.calibration import RECALIBRATORS, cross_fitted, halves_of, recalibrated
from robusteval.calibration.temperature import best_temperature
from robusteval.core.errors import InputError
from robusteval.metrics import Predictions, accuracy_score, expected_calibration_error

RNG = np.random.default_rng(0)
TRUE = RNG.normal(size=(3000, 5)) * 2
CHANCES = np.exp(TRUE) / np.exp(TRUE).sum(axis=1, keepdims=True)
LABELS = (RNG.random((3000, 1)) > CHANCES.cumsum(axis=1)).sum(axis=1).clip(max=4)
LOGITS = (2.5 * TRUE).astype(np.float32)
TEMPERATURE = RECALIBRATORS.parse("temperature")


def test_halves_belong_to_the_sample():
    ids = np.arange(5000)
    halves = halves_of(ids)
    order = RNG.permutation(5000)
    assert set(halves.tolist()) == {0, 1}
    assert abs(halves.mean() - 0.5) < 0.03
    assert (halves_of(ids[order]) == halves[order]).all()
    assert (halves_of(ids, seed=1) != halves).mean() > 0.4
    assert halves_of(np.arange(8)).tolist() == halves[:8].tolist()


def test_temperature_keeps_the_accuracy_and_mends_the_rest():
    found = cross_fitted(TEMPERATURE, LOGITS, LABELS, np.arange(3000))
    assert (found.logits.argmax(axis=1) == LOGITS.argmax(axis=1)).all()
    assert accuracy_score(found.logits, LABELS) == accuracy_score(LOGITS, LABELS)
    assert expected_calibration_error(found.logits, LABELS) < expected_calibration_error(LOGITS, LABELS) / 3
    for half, parameters in enumerate(found.parameters):
        other = found.halves != half
        assert parameters == {"temperature": best_temperature(LOGITS[other], LABELS[other])}
        assert parameters["temperature"] == pytest.approx(2.5, rel=0.1)


def test_order_does_not_matter():
    order = RNG.permutation(3000)
    found = cross_fitted(TEMPERATURE, LOGITS, LABELS, np.arange(3000))
    again = cross_fitted(TEMPERATURE, LOGITS[order], LABELS[order], order)
    assert again.logits == pytest.approx(found.logits[order], rel=1e-5)


def test_too_few_samples_are_named():
    with pytest.raises(InputError, match=r"samples=\(\d, \d\): must be enough that both halves have one"):
        cross_fitted(TEMPERATURE, LOGITS[:1], LABELS[:1], np.arange(1))
    with pytest.raises(InputError, match=r"ids=\(2,\): must have shape \[3000\]"):
        cross_fitted(TEMPERATURE, LOGITS, LABELS, np.arange(2))


def test_metrics_are_asked_again():
    before = Predictions.from_logits(LOGITS, LABELS)
    after, _ = recalibrated(TEMPERATURE, before)
    assert (after.predicted == before.predicted).all()
    assert after.nll.mean() < before.nll.mean()
