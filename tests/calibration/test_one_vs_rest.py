import sys

import numpy as np
import pytest
from scipy.special import log_softmax, logit

from robusteval.calibration import RECALIBRATORS
from robusteval.calibration.one_vs_rest import FLOOR
from robusteval.core.errors import InputError

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(1200, 4)) * 2
CHANCES = np.exp(log_softmax(LOGITS, axis=1))
LABELS = np.where(RNG.random(1200) < 0.5, LOGITS.argmax(axis=1), RNG.integers(0, 4, 1200))


def mapped(spec):
    fitted = RECALIBRATORS.parse(spec).fit(LOGITS, LABELS)
    return np.exp(log_softmax(fitted(LOGITS), axis=1))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("spec", ["histogram(bins=10)", "isotonic"])
def test_steps_equal_netcals_own_of_several_classes(spec):
    from netcal.binning import HistogramBinning, IsotonicRegression

    known = HistogramBinning(10) if "histogram" in spec else IsotonicRegression()
    expected = known.fit(CHANCES, LABELS).transform(CHANCES)
    assert mapped(spec) == pytest.approx(expected, abs=1e-9)


def test_isotonic_equals_sklearn():
    from sklearn.isotonic import IsotonicRegression

    found = np.stack(
        [IsotonicRegression(y_min=0, y_max=1).fit_transform(CHANCES[:, k], k == LABELS) for k in range(4)], axis=1
    )
    assert mapped("isotonic") == pytest.approx(found / found.sum(axis=1, keepdims=True), abs=1e-9)


def test_platt_equals_an_unpenalised_logistic_regression():
    from sklearn.linear_model import LogisticRegression

    found = np.empty_like(CHANCES)
    for k in range(4):
        odds = logit(CHANCES[:, k : k + 1])
        found[:, k] = LogisticRegression(C=1e9, tol=1e-8).fit(odds, k == LABELS).predict_proba(odds)[:, 1]
    assert mapped("platt") == pytest.approx(found / found.sum(axis=1, keepdims=True), abs=2e-3)


def test_beta_fits_no_worse_than_platt():
    """Platt's curve is beta's with a = b."""
    losses = {name: -np.log(mapped(name)[np.arange(1200), LABELS]).mean() for name in ("beta", "platt")}
    assert losses["beta"] < losses["platt"] + 5e-3


def test_nothing_is_quite_impossible():
    logits, labels = np.repeat(np.eye(3) * 5, 20, axis=0), np.repeat(np.arange(3), 20)
    chances = np.exp(log_softmax(RECALIBRATORS.parse("isotonic").fit(logits, labels)(logits), axis=1))
    assert chances.min() == pytest.approx(FLOOR, rel=1e-6)


def test_without_netcal_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "netcal.binning", None)
    with pytest.raises(InputError, match=r"recalibrator='isotonic': needs netcal; pip install 'robusteval\[netcal\]'"):
        RECALIBRATORS.parse("isotonic").fit(LOGITS, LABELS)
    with pytest.raises(InputError, match=r"recalibrator='histogram': needs netcal"):
        RECALIBRATORS.parse("histogram").check()


@pytest.mark.parametrize("spec", ["histogram(bins=0)"])
def test_no_bins_are_refused(spec):
    with pytest.raises(InputError, match="bins=0: must be at least 1"):
        RECALIBRATORS.parse(spec)
