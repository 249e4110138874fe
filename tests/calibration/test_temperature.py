import numpy as np
import pytest
from scipy.optimize import minimize

from robusteval.calibration.temperature import HIGHEST, LOWEST, best_temperature, resampled_temperature
from robusteval.core.statistics import poisson_weights

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("scale", [0.2, 1.0, 7.0])
def test_calibrated_logits_scaled_want_that_scale(scale):
    logits = RNG.normal(size=(20000, 5)) * 2
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (RNG.random((20000, 1)) > chances.cumsum(axis=1)).sum(axis=1).clip(max=4)
    found = best_temperature((logits * scale).astype(np.float32), labels)
    assert found == pytest.approx(scale, rel=0.03)


def test_it_is_the_optimum_of_another_solver():
    logits, labels = RNG.normal(size=(300, 4)).astype(np.float32) * 3, RNG.integers(4, size=300)

    def loss(inverse):
        scores = logits.astype(float) * inverse
        return float(np.mean(np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(300), labels]))

    best = minimize(lambda value: loss(value[0]), x0=[1.0], method="BFGS", options={"gtol": 1e-10})
    clipped = min(max(1 / best.x[0], LOWEST), HIGHEST) if best.x[0] > 0 else HIGHEST
    assert best_temperature(logits, labels) == pytest.approx(clipped, rel=1e-4)


def test_the_ends_hold():
    separable = np.eye(3, dtype=np.float32)
    assert best_temperature(separable, np.arange(3)) == LOWEST
    assert best_temperature(60 * separable, np.arange(3)) == LOWEST  # where the loss is 0 to rounding
    assert best_temperature(separable, np.array([1, 2, 0])) == pytest.approx(HIGHEST, rel=1e-4)


def test_logits_that_say_nothing_keep_their_temperature():
    assert best_temperature(np.full((5, 3), 7.0, dtype=np.float32), np.array([0, 1, 2, 0, 1])) == 1.0


@pytest.mark.parametrize("scale", [0.7, 4.0])
def test_under_weights_it_is_nearly_the_optimum_under_weights(scale):
    logits = RNG.normal(size=(600, 4)) * 2
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (RNG.random((600, 1)) > chances.cumsum(axis=1)).sum(axis=1).clip(max=3)
    logits = (scale * logits).astype(np.float32)
    weights = poisson_weights(np.arange(600), draws=60)
    best = best_temperature(logits, labels)
    found = resampled_temperature(logits, labels)(weights.astype(np.float64))
    known = np.array([best_temperature(np.repeat(logits, w, axis=0), np.repeat(labels, w)) for w in weights])
    assert np.abs(known / best - 1).max() > 0.05
    assert found == pytest.approx(known, rel=0.005)
    assert resampled_temperature(logits, labels)(np.ones((1, 600))) == pytest.approx([best], rel=0.005)


def test_few_and_nearly_separable_samples_are_no_reason_to_overshoot():
    logits = (8 * RNG.normal(size=(40, 2))).astype(np.float32)
    labels = np.where(RNG.random(40) < 0.9, logits.argmax(axis=1), logits.argmin(axis=1))
    weights = poisson_weights(np.arange(40), draws=60)
    found = resampled_temperature(logits, labels)(weights.astype(np.float64))
    known = np.array([best_temperature(np.repeat(logits, w, axis=0), np.repeat(labels, w)) for w in weights])
    assert (known == LOWEST).sum() < 30
    assert found[known > LOWEST] == pytest.approx(known[known > LOWEST], rel=0.02)


def test_where_the_optimum_is_at_an_end_it_stays_there_under_weights():
    logits, ones = np.eye(3, dtype=np.float32), np.ones((2, 3))
    for labels, end in ((np.array([1, 2, 0]), HIGHEST), (np.arange(3), LOWEST)):
        assert resampled_temperature(logits, labels)(ones) == pytest.approx([end, end])
    assert (resampled_temperature(np.zeros((2, 3)), np.array([0, 1]))(np.ones((1, 2))) == 1).all()
    assert np.isnan(resampled_temperature(logits, np.arange(3))(np.zeros((1, 3)))).all()
