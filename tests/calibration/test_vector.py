import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax

from robusteval.calibration import RECALIBRATORS
from robusteval.core.errors import InputError
from robusteval.metrics import negative_log_likelihood

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(1500, 3)) * 2
LABELS = np.where(RNG.random(1500) < 0.6, (LOGITS * [1, 2, 0.5] + [0, 1, 0]).argmax(axis=1), RNG.integers(0, 3, 1500))


def test_it_is_the_optimum_of_another_solver():
    def loss(values):
        chances = log_softmax(LOGITS * values[:3] + values[3:], axis=1)
        return -chances[np.arange(1500), LABELS].mean()

    best = minimize(loss, np.array([1, 1, 1, 0, 0, 0]), method="BFGS", options={"gtol": 1e-9}).fun
    fitted = RECALIBRATORS.parse("vector(penalty=0)").fit(LOGITS, LABELS)
    assert negative_log_likelihood(fitted(LOGITS), LABELS) == pytest.approx(best, abs=1e-8)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["vector", "temperature"])
def test_equals_netcal(name):
    """From log-probabilities, which are all netcal can see (weights apart feel what a softmax forgets).

    Its gradient is by differences, hence the tolerance.
    """
    from netcal.scaling import LogisticCalibration, TemperatureScaling

    chances = np.exp(log_softmax(LOGITS, axis=1))
    known = {"vector": LogisticCalibration, "temperature": TemperatureScaling}[name]()
    known.fit(chances, LABELS, tensorboard=False)
    fitted = RECALIBRATORS.parse(name).fit(np.log(chances), LABELS)
    found = np.exp(log_softmax(fitted(np.log(chances)), axis=1))
    assert found == pytest.approx(known.transform(chances), abs=2e-3)


def test_it_names_its_parameters():
    parameters = RECALIBRATORS.parse("vector").fit(LOGITS, LABELS).parameters
    assert list(parameters) == [f"{kind}_{k}" for kind in ("weight", "bias") for k in range(3)]


def test_a_negative_penalty_is_refused():
    with pytest.raises(InputError, match="must not be negative"):
        RECALIBRATORS.parse("vector(penalty=-1)")
