import numpy as np
import pytest
from scipy.optimize import minimize

from robusteval.calibration.temperature import HIGHEST, LOWEST, best_temperature

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
