"""What every recalibrator keeps (DESIGN 8, TRUST R26)."""

import pickle

import numpy as np
import pytest
from scipy.special import log_softmax

from robusteval.calibration import RECALIBRATORS, Recalibrator, cross_fitted, recalibrated
from robusteval.core.errors import InputError
from robusteval.metrics import Predictions, brier_score, negative_log_likelihood

N = 400
RNG = np.random.default_rng(0)
TRUE = RNG.normal(size=(N, 4)) * 2
LABELS = (RNG.random((N, 1)) > np.exp(log_softmax(TRUE, axis=1)).cumsum(axis=1)).sum(axis=1).clip(max=3)
LOGITS = (3 * TRUE).astype(np.float32)  # three times too sure


@pytest.fixture(params=RECALIBRATORS.classes)
def recalibrator(request) -> Recalibrator:
    return RECALIBRATORS.parse(request.param)


def test_it_mends_what_is_too_sure(recalibrator):
    fitted = recalibrator.fit(LOGITS[:200], LABELS[:200])
    before, after = (negative_log_likelihood(x, LABELS[200:]) for x in (LOGITS[200:], fitted(LOGITS[200:])))
    if recalibrator.name not in ("histogram", "isotonic"):  # steps may say 0 of a class that comes
        assert after < before
    assert brier_score(fitted(LOGITS[200:]), LABELS[200:]) < brier_score(LOGITS[200:], LABELS[200:])


def test_the_map_is_finite_and_in_float64(recalibrator):
    fitted = recalibrator.fit(LOGITS, LABELS)
    wild = np.array([[1e4, 0, 0, 0], [0, 0, 0, 0], [-1e4, 1e4, 0, 3], [2, 2, 2, 2]], dtype=np.float32)
    for x in (LOGITS, wild):
        mapped = fitted(x)
        assert mapped.dtype == np.float64
        assert mapped.shape == x.shape
        assert np.isfinite(mapped).all()


def test_rows_are_mapped_apart(recalibrator):
    fitted = recalibrator.fit(LOGITS, LABELS)
    whole = fitted(LOGITS)
    parts = np.concatenate([fitted(LOGITS[at : at + 7]) for at in range(0, N, 7)])
    assert parts == pytest.approx(whole, abs=1e-12)


def test_fitting_repeats_in_any_order_and_leaves_its_input(recalibrator):
    kept, order = LOGITS.copy(), RNG.permutation(N)
    fitted = recalibrator.fit(LOGITS, LABELS)
    assert (fitted(LOGITS) == recalibrator.fit(LOGITS, LABELS)(LOGITS)).all()
    shuffled = recalibrator.fit(LOGITS[order], LABELS[order])
    chances = [np.exp(log_softmax(each(LOGITS), axis=1)) for each in (fitted, shuffled)]
    assert chances[0] == pytest.approx(chances[1], abs=2e-3)
    assert (kept == LOGITS).all()


def test_a_class_never_seen_is_no_trouble(recalibrator):
    rows = LABELS != 2
    fitted = recalibrator.fit(LOGITS[rows], LABELS[rows])
    assert np.isfinite(fitted(LOGITS)).all()
    assert np.isfinite(recalibrator.fit(LOGITS[:1], LABELS[:1])(LOGITS)).all()
    assert np.isfinite(recalibrator.fit(np.zeros((5, 3)), np.array([0, 1, 2, 0, 1]))(np.ones((2, 3)))).all()


def test_parameters_are_numbers_by_name(recalibrator):
    parameters = recalibrator.fit(LOGITS, LABELS).parameters
    assert all(isinstance(name, str) and np.isfinite(value) for name, value in parameters.items())


@pytest.mark.parametrize(
    ("logits", "labels", "said"),
    [
        (LOGITS[:0], LABELS[:0], r"must have shape \[n, k\] with n >= 1"),
        (LOGITS * np.nan, LABELS, "logits='nan or inf': must be finite"),
        (LOGITS, LABELS + 1, r"must be in 0\.\.3"),
        (LOGITS, LABELS[:5], r"labels=\(5,\): must have shape \[400\]"),
    ],
)
def test_bad_input_is_named(recalibrator, logits, labels, said):
    with pytest.raises(InputError, match=said):
        recalibrator.fit(logits, labels)
    with pytest.raises(InputError, match=said):
        cross_fitted(recalibrator, logits, labels, np.arange(len(labels)))


def test_the_map_refuses_other_logits(recalibrator):
    fitted = recalibrator.fit(LOGITS, LABELS)
    with pytest.raises(InputError, match="must have the 4 classes fitted"):
        fitted(LOGITS[:, :3])
    with pytest.raises(InputError, match="must be finite"):
        fitted(LOGITS * np.inf)


def test_halves_do_not_see_themselves(recalibrator):
    ids = np.arange(1000, 1000 + N)
    found = cross_fitted(recalibrator, LOGITS, LABELS, ids, seed=1)
    for half in (0, 1):
        other = recalibrator.fit(LOGITS[found.halves != half], LABELS[found.halves != half])
        assert (found.logits[found.halves == half] == other(LOGITS[found.halves == half])).all()
        assert found.parameters[half] == other.parameters
    changed = LABELS.copy()
    changed[found.halves == 0] = 0
    again = cross_fitted(recalibrator, LOGITS, changed, ids, seed=1)
    assert (again.logits[found.halves == 0] == found.logits[found.halves == 0]).all()


def test_predictions_come_back_as_predictions(recalibrator):
    before = Predictions.from_logits(LOGITS, LABELS, np.arange(N) * 3)
    after, found = recalibrated(recalibrator, before, seed=2)
    assert (after.samples == before.samples).all()
    assert (after.labels == LABELS).all()
    assert after.confidence == pytest.approx(np.exp(log_softmax(found.logits, axis=1)).max(axis=1))
    with pytest.raises(InputError, match=f"recalibrator '{recalibrator}' needs them"):
        recalibrated(recalibrator, Predictions(*(getattr(before, name) for name in FIELDS)))


FIELDS = ("samples", "labels", "predicted", "confidence", "nll", "brier", "margin")


def test_it_travels(recalibrator):
    assert pickle.loads(pickle.dumps(recalibrator)) == recalibrator
    assert RECALIBRATORS.parse(recalibrator.spec) == recalibrator
