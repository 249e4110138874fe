import numpy as np
import pytest

from robusteval.core.errors import InputError
from robusteval.core.statistics import wilson
from robusteval.metrics import METRICS, Predictions, estimate


def predictions(margins: list[float]) -> Predictions:
    logits = np.stack([np.array(margins), np.zeros(len(margins))], axis=1)
    return Predictions.from_logits(logits, np.zeros(len(margins), dtype=np.int64))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("borderline", 3 / 6),
        ("borderline(within=0)", 1 / 6),
        ("borderline(within=0.5)", 4 / 6),
        ("borderline(within=5)", 1),
    ],
)
def test_counts_both_sides_of_zero(spec, expected):
    assert METRICS.parse(spec)(predictions([0, 1e-4, -9e-5, 0.5, -0.6, 5])) == expected


def test_it_is_a_rate_with_wilsons_interval():
    found = estimate(METRICS.parse("borderline"), predictions([0.0] * 7 + [1.0] * 93))
    assert found == wilson(7, 100)


def test_a_negative_width_is_refused():
    with pytest.raises(InputError, match=r"within=-1\.0: must not be negative"):
        METRICS.parse("borderline(within=-1)")
