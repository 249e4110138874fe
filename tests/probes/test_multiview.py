import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from robusteval.core.errors import InputError
from robusteval.data import DATA
from robusteval.probes.multiview import VIEWS, Multiview, learned, views

LABELS = torch.arange(40) % 4


class Reads(nn.Module):
    """Reads the class off the brightest pixel of either half of the channels, by how much it trusts each."""

    def __init__(self, first, second):
        super().__init__()
        self.trust = torch.tensor([first, second])

    def forward(self, x):
        return (x.flatten(2) * self.trust[:, None]).sum(dim=1)


def images():
    """Two channels of four pixels in a row, each with its class's pixel at half strength."""
    return 0.5 * nn.functional.one_hot(LABELS, 4).float()[:, None, None, :].expand(-1, 2, 1, 4)


def measured(model, subject, rng, x=None):
    (measurement,) = Multiview().measure(subject(model, images() if x is None else x, LABELS), rng)
    return measurement


@pytest.mark.parametrize(("trust", "expected"), [((1, 1), (1, 1, 1)), ((1, 0), (1, 1, 0.25)), ((0, 2), (1, 0.25, 1))])
def test_a_view_that_a_model_does_not_read_gives_chance(subject, rng, trust, expected):
    found = measured(Reads(*map(float, trust)), subject, rng)
    means = found.frame[["accuracy_both", "accuracy_first", "accuracy_second"]].mean()
    assert tuple(means) == expected
    # What is blind says class 0, whose own samples are then all correct.
    assert learned(found.frame).tolist() == [1.0 if trust == (1, 1) else 0.25]
    assert found.facts.forwards == 120


def test_the_view_that_stays_has_its_full_strength():
    shown = views(images())
    assert torch.equal(shown["both"], images())
    assert torch.equal(shown["first"][:, :1], 2 * images()[:, :1])
    assert torch.equal(shown["second"][:, 1:], 2 * images()[:, 1:])
    assert not shown["first"][:, 1:].any()
    assert not shown["second"][:, :1].any()
    assert views(images(), 3.0)["first"].max() == 1


def test_each_view_is_that_of_the_data_set():
    """But for the last bit, which halving cuts."""
    both, first, second = (
        DATA.parse(f"two-views(data='digits', view='{view}')").split("test").batch().x
        for view in ("both", "first", "second")
    )
    shown = views(both)
    for name, expected in (("first", first), ("second", second)):
        assert (shown[name] - expected).abs().max() <= 1 / 255 + 1e-6


def frame(counts):
    """Ten samples of each class, of which so many are correct with both views, the first, the second."""
    columns = [f"accuracy_{view}" for view in VIEWS]
    rows = [(label, *(float(row < hits) for hits in of)) for label, of in enumerate(counts) for row in range(10)]
    return pd.DataFrame(rows, columns=["label", *columns])


@pytest.mark.parametrize(
    ("counts", "share"),
    [
        ([(10, 6, 6), (10, 6, 6), (10, 6, 6), (10, 6, 6)], 1.0),
        ([(10, 6, 5), (10, 6, 6), (10, 6, 6), (10, 6, 6)], 0.75),  # exactly twice chance is not above it
        ([(10, 10, 0), (10, 0, 10), (10, 9, 9), (10, 8, 8)], 0.5),
        ([(10, 10, 10), (10, 10, 10), (10, 10, 10), (10, 4, 10)], 0.75),  # below half of 10
        ([(0, 0, 0), (0, 0, 0), (0, 0, 0), (0, 0, 0)], 0.0),
    ],
)
def test_the_share_of_classes_learned_by_hand(counts, share):
    assert learned(frame(counts)).tolist() == [share]


def test_with_ten_classes_half_of_both_is_the_stricter_rule():
    counts = [(10, 5, 5)] * 5 + [(10, 4, 5)] * 3 + [(6, 3, 3)] * 2
    assert learned(frame(counts)).tolist() == [0.7]


def test_weights_resample_samples_and_drop_classes_without_any():
    rows = frame([(10, 10, 10), (10, 0, 0), (10, 10, 10), (10, 10, 10)])
    label = rows["label"].to_numpy()
    weights = np.stack([np.ones(40), (label != 1) * 2.0, (label < 2) * 1.0, np.zeros(40)])
    found = learned(rows, weights)
    assert found[:3].tolist() == [0.75, 1.0, 0.5]
    assert np.isnan(found[3])


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.rand(40, 3, 4, 4), "must hold two views in 2 or 6 channels"),
        (torch.cat([torch.rand(40, 1, 4, 4), torch.zeros(40, 1, 4, 4)], dim=1), "the second is black"),
        (torch.cat([torch.zeros(40, 3, 6, 6), torch.rand(40, 3, 6, 6)], dim=1), "the first is black"),
    ],
)
def test_images_without_two_views_are_answered_with_the_rule(subject, rng, x, message):
    with pytest.raises(InputError, match=message):
        measured(nn.Flatten(), subject, rng, x)


def test_a_cell_has_the_share_as_a_statistic():
    rows, weights = frame([(10, 10, 10), (10, 0, 0), (10, 10, 10), (10, 10, 10)]), np.ones((2, 40))
    assert Multiview().statistics(rows)["features_learned"](weights).tolist() == [0.75, 0.75]
    assert Multiview().statistics(frame([(10, 10, 10), (10, 10, 10)])) == {}


def test_two_classes_are_too_few():
    with pytest.raises(InputError, match="at least 3"):
        learned(frame([(10, 10, 10), (10, 10, 10)]))


def test_a_wrong_strength_is_answered_with_the_rule():
    with pytest.raises(InputError, match="strength"):
        Multiview(strength=0.0)
