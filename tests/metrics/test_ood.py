import numpy as np
import pytest
from scipy.special import logsumexp
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from robusteval.core.errors import InputError
from robusteval.metrics import auroc, average_precision, fpr_at_recall, out_of_distribution
from robusteval.metrics.functional.ood import SCORES, Detection, energy, maximum_logit, maximum_softmax

RNG = np.random.default_rng(0)
OWN, OTHER = RNG.normal(size=(300, 5)) * 3, RNG.normal(size=(200, 5)) * 2
TRUTH = np.repeat([1, 0], [300, 200])


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("digits", [12, 0], ids=["distinct", "ties"])
def test_equals_sklearn(score, digits):
    own, other = SCORES[score](OWN).round(digits), SCORES[score](OTHER).round(digits)
    both = np.concatenate([own, other])
    assert auroc(own, other) == pytest.approx(roc_auc_score(TRUTH, both), abs=1e-12)
    assert average_precision(own, other) == pytest.approx(average_precision_score(TRUTH, both), abs=1e-12)
    false, true, _ = roc_curve(TRUTH, both, drop_intermediate=False)
    assert fpr_at_recall(own, other) == pytest.approx(false[true >= 0.95 - 1e-12][0], abs=1e-12)


def test_weights_are_repetitions():
    own, other = maximum_logit(OWN).round(1), maximum_logit(OTHER).round(1)
    weights = RNG.integers(0, 4, 500)
    rows, detection = weights[None].astype(float), Detection(own, other)
    again = np.repeat(own, weights[:300]), np.repeat(other, weights[300:])
    assert detection.auroc(rows) == pytest.approx(auroc(*again), abs=1e-12)
    assert detection.aupr(rows) == pytest.approx(average_precision(*again), abs=1e-12)
    assert detection.fpr(rows) == pytest.approx(fpr_at_recall(*again), abs=1e-12)


def test_scores_by_hand():
    logits = np.array([[2.0, 0.0, -1.0]])
    assert maximum_softmax(logits) == pytest.approx(np.exp(2) / np.exp([2, 0, -1]).sum())
    assert energy(logits) == pytest.approx(logsumexp([2, 0, -1]))
    assert energy(logits, temperature=4) == pytest.approx(4 * logsumexp(np.array([2, 0, -1]) / 4))
    assert maximum_logit(logits) == 2
    assert energy(np.array([[5e4, 0.0]])) == 5e4


def test_ends():
    assert (auroc([2, 3], [0, 1]), average_precision([2, 3], [0, 1]), fpr_at_recall([2, 3], [0, 1])) == (1, 1, 0)
    assert (auroc([0, 1], [2, 3]), fpr_at_recall([0, 1], [2, 3])) == (0, 1)
    assert (auroc([1], [1]), average_precision([1], [1]), fpr_at_recall([1], [1])) == (0.5, 0.5, 1)


def test_all_measures_have_intervals():
    found = out_of_distribution(OWN, OTHER, draws=100)
    assert set(found) == {f"{measure}-{score}" for measure in ("auroc", "aupr", "fpr95") for score in SCORES}
    assert all(low <= value <= high and high > low for value, low, high in found.values())
    assert found == out_of_distribution(OWN, OTHER, np.arange(300), np.arange(200), draws=100)
    assert found["auroc-energy"].value == auroc(energy(OWN), energy(OTHER))
    one = out_of_distribution(OWN[:1], OTHER[:1], draws=20)
    assert all(np.isfinite(each).all() for each in one.values())


@pytest.mark.parametrize(
    ("own", "other", "said"),
    [
        (OWN[:0], OTHER, r"own=\(0, 5\): must have shape \[n, k\] with n >= 1"),
        (OWN, OTHER * np.nan, "other='nan or inf': must be finite"),
        (OWN, OTHER[:, :3], r"other=\(200, 3\): must have the 5 classes of own"),
    ],
)
def test_bad_input_is_named(own, other, said):
    with pytest.raises(InputError, match=said):
        out_of_distribution(own, other)


def test_bad_scores_are_named():
    with pytest.raises(InputError, match=r"own=\(0,\): must have shape \[n\] with n >= 1"):
        auroc([], [1.0])
    with pytest.raises(InputError, match="other='nan or inf': must be finite"):
        auroc([1.0], [np.inf])
    with pytest.raises(InputError, match="temperature=0: must be above 0"):
        energy(OWN, temperature=0)
