import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from robusteval.metrics import Predictions, expected_calibration_error, reliability_diagram

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(800, 3)) * 2
LABELS = np.where(RNG.random(800) < 0.5, LOGITS.argmax(axis=1), RNG.integers(0, 3, 800))
PREDICTIONS = Predictions.from_logits(LOGITS, LABELS)


@pytest.mark.parametrize("mass", [False, True])
def test_the_rows_are_the_errors(mass):
    table = reliability_diagram(PREDICTIONS, mass=mass, draws=100)
    assert len(table) == 15
    assert table["count"].sum() == 800
    error = (table["share"] * (table["accuracy"] - table["confidence"]).abs()).sum()
    assert error == pytest.approx(expected_calibration_error(LOGITS, LABELS, mass=mass))
    filled = table[table["count"] > 0]
    assert (filled["accuracy_low"] <= filled["accuracy"] + 1e-12).all()
    assert (filled["accuracy"] <= filled["accuracy_high"] + 1e-12).all()
    assert ((filled["low"] < filled["confidence"]) & (filled["confidence"] <= filled["high"])).all()
    assert table["low"].tolist()[1:] == table["high"].tolist()[:-1]


def test_equals_sklearn_where_filled():
    table = reliability_diagram(PREDICTIONS, bins=10, draws=10)
    rate, mean = calibration_curve(PREDICTIONS.correct, PREDICTIONS.confidence, n_bins=10)
    filled = table[table["count"] > 0]
    assert filled["accuracy"].to_numpy() == pytest.approx(rate)
    assert filled["confidence"].to_numpy() == pytest.approx(mean)


def test_an_empty_bin_says_so():
    table = reliability_diagram(PREDICTIONS, draws=10)  # three classes: never below a third
    assert table.loc[0, "count"] == 0
    assert table.loc[0, ["confidence", "accuracy", "accuracy_low", "accuracy_high"]].isna().all()


def test_it_repeats_and_takes_the_weights_of_others():
    once, again = (reliability_diagram(PREDICTIONS, draws=50, seed=2) for _ in range(2))
    assert once.equals(again)
    assert reliability_diagram(PREDICTIONS, weights=np.ones((3, 800), np.uint8))["accuracy_low"].equals(
        reliability_diagram(PREDICTIONS, draws=1)["accuracy"].rename("accuracy_low")
    )
