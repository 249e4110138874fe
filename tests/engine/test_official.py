"""Stored corrupted images through an evaluation: labelled, and keyed by what they are."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import robusteval
from robusteval.core.errors import DataError, InputError, RobustevalError
from robusteval.data import DATA
from robusteval.engine.suite import Group, Suite
from robusteval.probes import parse_view

SPLIT = DATA.parse("fashion-mnist").split("test").first(40)
SUITE = Suite(name="stored", views=(Group(specs=("clean", "fog@2", "contrast@5")), Group(specs=("fog@1",), samples=20)))
WEIGHTS = torch.randn(784, 10, generator=torch.Generator().manual_seed(0))


def model(x: torch.Tensor) -> torch.Tensor:
    return x.flatten(1) @ WEIGHTS


def evaluated(folder: Path | None, suite: Suite = SUITE) -> robusteval.Report:
    return robusteval.evaluate(model, (SPLIT.images, SPLIT.labels), suite, official=folder)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """The generated images in the layout of CIFAR-10-C."""
    for name in ("fog", "contrast"):
        blocks = [robusteval.corrupt(SPLIT.images, name, severity) for severity in range(1, 6)]
        np.save(tmp_path / f"{name}.npy", torch.cat(blocks).permute(0, 2, 3, 1).numpy())
    np.save(tmp_path / "labels.npy", SPLIT.labels.repeat(5).numpy())
    return tmp_path


def test_the_same_images_give_the_same_rows_under_another_name(stored: Path) -> None:
    generated, official = evaluated(None), evaluated(stored)
    assert official.metrics["view"].unique().tolist() == [
        "clean",
        "official:fog@2",
        "official:contrast@5",
        "official:fog@1",
    ]
    renamed = official.samples.assign(view=official.samples["view"].str.removeprefix("official:"))
    pd.testing.assert_frame_equal(renamed, generated.samples)
    for report, origin in ((generated, "generated"), (official, "official")):
        origins = report.metrics.groupby("kind")["origin"].unique()
        assert list(origins["corruption"]) == [origin]
        assert pd.isna(origins["clean"]).all()
    facts = official.metrics[official.metrics["view"] == "official:contrast@5"].iloc[0]
    assert (facts["kind"], facts["component"], facts["severity"], facts["n"]) == ("corruption", "contrast", 5, 40)
    assert official.run["official"] == [str(stored)]


def test_other_files_are_another_cell(stored: Path) -> None:
    before = evaluated(stored).cells.set_index("view")["digest"]
    images = np.load(stored / "fog.npy")
    images[40 + 30] = 0  # of severity 2, beyond the 20 samples of the other view
    np.save(stored / "fog.npy", images)
    after = evaluated(stored).cells.set_index("view")["digest"]
    assert (before != after).to_dict() == {
        "clean": False,
        "official:fog@2": True,
        "official:contrast@5": False,
        "official:fog@1": False,
    }


def test_a_set_that_was_made_here_is_labelled_so(stored: Path) -> None:
    (stored / "robusteval.json").write_text("{}")
    metrics = evaluated(stored).metrics
    assert metrics.loc[metrics["kind"] == "corruption", "origin"].unique().tolist() == ["generated"]


def test_a_suite_that_names_stored_views_is_left_as_it_is(stored: Path) -> None:
    both = Suite(name="both", views=(Group(specs=("fog@2", "official:fog@2")),))
    assert evaluated(stored, both).metrics["view"].unique().tolist() == ["fog@2", "official:fog@2"]
    with pytest.raises(
        InputError, match=r"^official:fog@2: needs the folder of the stored set: name it with --official$"
    ):
        evaluated(None, both)


def test_what_is_missing_is_said_before_any_work(stored: Path) -> None:
    (stored / "contrast.npy").unlink()
    with pytest.raises(DataError, match=r"holds no contrast\.npy and no folder contrast/5"):
        evaluated(stored)


@pytest.mark.parametrize(
    ("view", "said"),
    [
        ("official:fogg@3", "unknown corruption 'fogg': did you mean 'fog'"),
        ("official:fog@6", "severity=6: must be in 1..5, as in official:fog@1"),
        ("official:fog", "expected name"),
        ("official:zigzag@2", "severity=2: must be in 1..1"),
        ("official:fog(family='cifar')@3", "family='cifar': a stored set has constants of its own"),
        ("official:fog(family='mnist-c')@2", "severity=2: must be in 1..1"),
    ],
)
def test_wrong_views_are_answered(view: str, said: str) -> None:
    with pytest.raises(RobustevalError) as caught:
        parse_view(view)
    assert said in str(caught.value) or view == "official:fog"


def test_the_spec_of_a_stored_view() -> None:
    for view in ("official:fog@3", "official:fog(family='mnist-c')@1", "official:zigzag@1"):
        assert parse_view(view).spec == view
        assert parse_view(view).facets.origin == "official"
    assert parse_view(" official: fog @3".strip()).spec == "official:fog@3"
