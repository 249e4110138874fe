"""Own samples against a second data set: judged by scikit-learn, brought to the model's shape, keyed by content."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve
from torch import nn

import robusteval
from robusteval.core.errors import InputError, RobustevalError, SpecError
from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.data import DATA
from robusteval.engine.plan import Settings, cells
from robusteval.engine.sources import DataSource, ModelSource
from robusteval.engine.suite import Group, Suite
from robusteval.metrics.functional.ood import OUTSIDE, SCORES, Detection
from robusteval.models.checkpoint import Card, Loaded
from robusteval.probes import parse_view
from robusteval.probes.ood import MEASURES, Ood, brought

DIGITS = DATA.parse("digits").split("test")
RANDOM = Stream.seeded(3)
X = RANDOM.uniform(torch.arange(150), (1, 8, 8))
WEIGHTS = RANDOM.normal(torch.arange(10), (64,)) / 4


class Linear(nn.Module):
    def forward(self, x):
        return x.flatten(1) @ WEIGHTS.T


def measured(probe, one, rng):
    (measurement,) = probe.measure(one, rng)
    return measurement


def values(probe, frame, weights=None):
    rows = np.ones((1, len(frame))) if weights is None else weights
    return {name: statistic(rows) for name, statistic in probe.statistics(frame).items()}


def test_every_measure_of_every_score_equals_sklearn(subject, rng):
    probe = Ood(data="digits", samples=200)
    frame = measured(probe, subject(Linear(), X), rng).frame
    found = values(probe, frame)
    assert set(found) == {f"{measure}-{score}" for measure in ("auroc", "aupr", "fpr95") for score in SCORES}
    truth = np.repeat([1, 0], [150, 200])
    logits = [Linear()(x).double() for x in (X, DIGITS.first(200).batch().x)]
    by_hand = {
        "softmax": [part.softmax(dim=1).amax(dim=1) for part in logits],
        "energy": [part.logsumexp(dim=1) for part in logits],
        "logit": [part.amax(dim=1) for part in logits],
    }
    for score, parts in by_hand.items():
        both = torch.cat(parts).numpy()
        false, true, _ = roc_curve(truth, both, drop_intermediate=False)
        expected = roc_auc_score(truth, both), average_precision_score(truth, both), false[true >= 0.95][0]
        got = [found[f"{measure}-{score}"][0] for measure in ("auroc", "aupr", "fpr95")]
        assert got == pytest.approx(expected, abs=1e-9)


def test_the_models_own_data_cannot_be_told_from_itself(subject, rng):
    probe = Ood(data="digits")
    found = values(probe, measured(probe, subject(Linear(), DIGITS.batch().x), rng).frame)
    for score in SCORES:
        assert found[f"auroc-{score}"] == pytest.approx(0.5, abs=1e-12)
        assert found[f"fpr95-{score}"] == pytest.approx(0.95, abs=1 / len(DIGITS))


def test_the_second_set_is_rows_of_its_own(subject, rng):
    measurement = measured(Ood(data="digits", samples=20), subject(Linear(), X), rng)
    frame = measurement.frame
    assert frame["sample"].tolist() == [*range(150), *range(OUTSIDE, OUTSIDE + 20)]
    assert (frame["label"] == -1).tolist() == [False] * 150 + [True] * 20
    own, other = frame.filter(like="score_"), frame.filter(like="outside_")
    assert own[:150].notna().all(axis=None)
    assert own[150:].isna().all(axis=None)
    assert other[:150].isna().all(axis=None)
    assert other[150:].notna().all(axis=None)
    assert measurement.facts.forwards == 170


def test_shards_join_to_the_whole(subject, rng):
    probe, whole = Ood(data="digits", samples=50), subject(Linear(), X)
    parts = []
    for number, rows in enumerate((slice(0, 100), slice(100, 150))):
        shard = type(whole)(Linear(), Linear(), Batch(*(t[rows] for t in whole.batch)), ("d", number), whole.passes)
        parts.append(measured(probe, shard, rng).frame)
    assert [len(part) for part in parts] == [150, 50]
    joined, expected = pd.concat(parts, ignore_index=True), measured(probe, whole, rng).frame
    pd.testing.assert_frame_equal(joined.sort_values("sample", ignore_index=True), expected)
    weights = np.random.default_rng(0).poisson(1, size=(5, 200)).astype(float)
    moved = weights[:, joined["sample"].argsort()]
    for name, found in values(probe, joined, weights).items():
        np.testing.assert_allclose(found, values(probe, expected, moved)[name], rtol=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12), st.sampled_from([0, 1, 6]))
def test_bounds_order_and_exchange(seed, own, other, digits):
    """Every measure is a share; order is of no account; exchanged sides have the complement as AUROC."""
    draw = np.random.default_rng(seed)
    first, second = draw.normal(size=own).round(digits), draw.normal(size=other).round(digits)
    ones = np.ones((1, own + other))
    found = {name: float(function(Detection(first, second), ones)[0]) for name, function in MEASURES.items()}
    assert all(0 <= value <= 1 for value in found.values())
    assert found["aupr"] > 0
    shuffled = Detection(draw.permutation(first), draw.permutation(second))
    assert {name: float(function(shuffled, ones)[0]) for name, function in MEASURES.items()} == pytest.approx(found)
    assert Detection(second, first).auroc(ones)[0] == pytest.approx(1 - found["auroc"], abs=1e-12)


class TestShapes:
    def test_an_equal_shape_is_left_alone(self):
        assert brought(DIGITS.images, (1, 8, 8)) is DIGITS.images

    def test_grey_is_repeated(self):
        colour = brought(DIGITS.images, (3, 8, 8))
        assert colour.dtype == torch.uint8
        assert all(torch.equal(colour[:, channel], DIGITS.images[:, 0]) for channel in range(3))

    def test_colours_are_made_grey_as_pillow_does(self):
        pixels = RANDOM.integers(torch.arange(5), (3, 9, 7), 0, 256).to(torch.uint8)
        grey = brought(pixels, (1, 9, 7))
        for image, found in zip(pixels, grey, strict=True):
            expected = np.asarray(Image.fromarray(image.permute(1, 2, 0).numpy()).convert("L"))
            assert np.abs(found[0].numpy().astype(int) - expected).max() <= 1

    @pytest.mark.parametrize("size", [(28, 28), (5, 4)])
    def test_sizes_are_stretched_as_pillow_does(self, size):
        found = brought(DIGITS.images[:5], (1, *size))
        for image, one in zip(DIGITS.images[:5], found, strict=True):
            picture = Image.fromarray(image[0].numpy()).resize(size[::-1], Image.Resampling.BILINEAR)
            assert np.abs(one[0].numpy().astype(int) - np.asarray(picture)).max() <= 1

    def test_floats_stay_floats_in_their_range(self):
        found = brought(X, (3, 20, 20))
        assert found.dtype == torch.float32
        assert found.shape == (150, 3, 20, 20)
        assert 0 <= found.min() < found.max() <= 1

    @pytest.mark.parametrize(
        ("images", "shape"),
        [(X.expand(-1, 2, -1, -1), (1, 8, 8)), (X[:, :, :1, :1], (1, 8, 8)), (X, (6, 8, 8)), (X, (5, 1, 1))],
    )
    def test_what_is_no_picture_is_refused(self, images, shape):
        with pytest.raises(InputError, match=r"^data='\dx\dx\d': must be pictures, grey or in colour"):
            brought(images, shape)

    def test_a_warning_says_what_was_done(self):
        assert Ood(data="digits").remark((1, 8, 8)) is None
        assert Ood(data="digits").remark((2, 8, 8)) is None  # which is refused
        said = Ood(data="digits").remark((3, 32, 32))
        assert said == "ood(data='digits'): images are brought from 1x8x8 to 3x32x32, which may tell them apart"


def test_it_goes_through_an_evaluation(tmp_path):
    suite = Suite(name="t", views=(Group(specs=("clean", "ood(data='digits', samples=30)")),))
    labels = torch.arange(150) % 10
    report = robusteval.evaluate(Linear(), (X, labels), suite, out=tmp_path / "report")
    assert report.failures.empty
    rows = report.metrics[report.metrics["kind"] == "ood"].set_index("metric")
    assert list(rows.loc[["score_energy", "outside_energy", "auroc-energy"], "n"]) == [150, 30, 180]
    assert (rows["low"] <= rows["value"]).all()
    assert (rows["value"] <= rows["high"]).all()
    assert (rows["low"] < rows["high"])[[f"{measure}-{score}" for measure in MEASURES for score in SCORES]].all()
    frame = report.samples[report.samples["view"] == "ood(data='digits', samples=30)"]
    other, own = (frame[name].dropna().to_numpy() for name in ("outside_logit", "score_logit"))
    truth = np.repeat([1, 0], [150, 30])
    assert rows.loc["auroc-logit", "value"] == pytest.approx(roc_auc_score(truth, np.concatenate([own, other])))


def test_the_second_sets_content_is_in_the_key(tmp_path):
    """Other images, or another number of them, are another cell; the same images again the same."""
    file, model = tmp_path / "other.npz", ModelSource("m", DataSource("digits"))
    loaded = Loaded(Linear(), Card(architecture="a", classes=DIGITS.classes, shape=DIGITS.shape), "d")

    def key(seed, samples=10):
        drawn = np.random.default_rng(seed)
        np.savez(file, images=drawn.integers(0, 256, (20, 8, 8), np.uint8), labels=drawn.integers(0, 3, 20))
        spec = f"ood(data={f'npz(path={str(file)!r})'!r}, samples={samples})"
        suite = Suite(name="t", views=(Group(specs=("clean", spec)),), samples=20)
        return [cell.key for cell in cells(suite, [(model, loaded, DIGITS)], Settings())]

    first, again, changed, fewer = key(0), key(0), key(1), key(0, samples=5)
    assert first == again
    assert first[0] == changed[0] == fewer[0]
    assert len({first[1], changed[1], fewer[1]}) == 3


def test_the_images_are_read_once_for_all_models_of_a_worker(subject, rng, monkeypatch):
    probe, one = Ood(data="digits", samples=10), subject(Linear(), X)
    read = []
    load = type(DATA.parse("digits")).load
    monkeypatch.setattr(type(DATA.parse("digits")), "load", lambda self, split: read.append(1) or load(self, split))
    frames = [measured(probe, one, rng).frame for _ in range(3)]
    assert len(read) == 1
    assert frames[0].equals(frames[2])


@pytest.mark.parametrize(
    ("view", "error", "message"),
    [
        ("ood", SpecError, "ood needs data, as in"),
        ("ood(data='digitz')", SpecError, "did you mean 'digits'"),
        ("ood(data='digits', samples=0)", InputError, "samples=0: must be at least 1, or None"),
    ],
)
def test_a_wrong_parameter_is_answered(view, error, message):
    with pytest.raises(error, match=message):
        parse_view(view)


def test_data_that_are_not_there_are_said_before_any_work(tmp_path):
    suite = Suite(name="t", views=(Group(specs=(f"ood(data=\"npz(path='{tmp_path}/none.npz')\")",)),))
    with pytest.raises(RobustevalError, match=r"none\.npz"):
        robusteval.evaluate(Linear(), (X, torch.arange(150) % 10), suite)


def test_it_travels_to_a_worker_without_its_images():
    probe = Ood(data="digits")
    assert probe.depends == DIGITS.digest
    assert pickle.loads(pickle.dumps(probe)) == probe
    assert len(pickle.dumps(probe)) < 1000
