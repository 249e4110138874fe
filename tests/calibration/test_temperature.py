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
    assert best_temperature(separable, np.arange(3)) < 0.05  # where the likelihood is 1 to rounding
    assert best_temperature(separable, np.array([1, 2, 0])) == pytest.approx(HIGHEST, rel=1e-4)


def test_logits_that_say_nothing_keep_their_temperature():
    assert best_temperature(np.full((5, 3), 7.0, dtype=np.float32), np.array([0, 1, 2, 0, 1])) == 1.0


@pytest.mark.parametrize("scale", [0.7, 4.0])
def test_a_step_under_weights_is_nearly_the_optimum_under_weights(scale):
    logits = RNG.normal(size=(600, 4)) * 2
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (RNG.random((600, 1)) > chances.cumsum(axis=1)).sum(axis=1).clip(max=3)
    logits = (scale * logits).astype(np.float32)
    weights = poisson_weights(np.arange(600), draws=60)
    best = best_temperature(logits, labels)
    found = resampled_temperature(logits, labels, best)(weights.astype(np.float64))
    known = np.array([best_temperature(np.repeat(logits, w, axis=0), np.repeat(labels, w)) for w in weights])
    assert np.abs(known / best - 1).max() > 0.05
    assert found == pytest.approx(known, rel=0.02)
    assert resampled_temperature(logits, labels, best)(np.ones((1, 600))) == pytest.approx([best], rel=1e-5)


def test_where_the_optimum_is_at_an_end_the_steps_stay_there():
    logits, ones = np.eye(3, dtype=np.float32), np.ones((2, 3))
    for labels, end in ((np.array([1, 2, 0]), HIGHEST), (np.arange(3), LOWEST)):
        steps = resampled_temperature(logits, labels, end)(ones)
        assert ((steps >= LOWEST) & (steps <= HIGHEST) | np.isnan(steps)).all()
    assert np.isnan(resampled_temperature(np.zeros((2, 3)), np.array([0, 1]), 1.0)(np.ones((1, 2)))).all()
