"""The gallery of one image, and the tables of pictures it is made of."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import robusteval
from robusteval.core.errors import InputError, SpecError
from robusteval.corruptions import CORRUPTIONS
from robusteval.data import DATA
from robusteval.reporting import pictures
from robusteval.reporting.figures import save
from robusteval.reporting.gallery import changed, gallery, standard
from robusteval.reporting.pictures import frame, pixels, png, sheet

IMAGE = DATA.parse("digits").split("test").images[0]
COLOUR = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
FEW = [(CORRUPTIONS.parse("contrast"), (1, 5)), (CORRUPTIONS.parse("shot-noise"), (3,))]


def test_the_pictures_are_those_of_the_python_front() -> None:
    shown = changed(IMAGE, FEW, seed=3, sample=7).set_index(["row", "column"])["image"]
    assert list(shown.index) == [
        *(("shot-noise", column) for column in ("clean", "severity 3")),
        *(("contrast", column) for column in ("clean", "severity 1", "severity 5")),
    ]
    expected = robusteval.corrupt(IMAGE[None], "shot-noise", 3, seed=3, ids=[7])[0, 0].numpy()
    assert np.array_equal(pixels(shown["shot-noise", "severity 3"])[..., 0], expected)
    assert np.array_equal(pixels(shown["contrast", "clean"])[..., 0], IMAGE[0].numpy())
    floats = changed(COLOUR.numpy(), FEW)["image"].iloc[0]
    assert np.array_equal(pixels(floats), np.rint(255 * COLOUR.permute(1, 2, 0).numpy()))


def test_all_corruptions_and_severities_have_their_place(tmp_path: Path) -> None:
    figure = gallery(IMAGE)
    titles = [panel.get_title() for panel in figure.axes if panel.get_title()]
    assert titles == ["clean", *(f"severity {number}" for number in range(1, 6))]
    names = [text.get_text() for text in figure.texts]
    assert len([name for name in names if name in CORRUPTIONS]) == 19
    assert len(figure.axes) == 19 * 6
    save(figure, tmp_path / "gallery.png")
    assert (tmp_path / "gallery.png").stat().st_size > 10_000


def test_a_family_has_its_own() -> None:
    assert {each.family for each in standard("mnist-c")} == {"mnist-c"}
    assert len(standard("mnist-c")) == 15
    assert len(standard("cifar10-c-bar")) == len(CORRUPTIONS.classes) - 19 - 8
    with pytest.warns(RuntimeWarning, match="not meant for images of 8 px"):
        gallery(IMAGE, family="imagenet")


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (IMAGE[None], r"must have shape \[1 or 3, height, width\]"),
        (IMAGE.float(), r"must be finite and in \[0, 1\]; divide by 255"),
        (IMAGE.long(), "must be uint8 or floats"),
        ("picture.png", "must be a tensor or an array"),
        (torch.full((1, 4, 4), float("nan")), "must be finite"),
    ],
)
def test_what_is_no_image_is_said(image: torch.Tensor, said: str) -> None:
    with pytest.raises(InputError, match=said):
        gallery(image)


def test_what_cannot_be_drawn_is_said() -> None:
    with pytest.raises(SpecError, match="no corruption has it"):
        gallery(IMAGE, family="mnist")
    with pytest.raises(InputError, match="severity=6"):
        changed(IMAGE, [(CORRUPTIONS.parse("fog"), (6,))])
    with pytest.raises(InputError, match="must be at least one"):
        sheet(frame([]), "nothing")


def test_other_shapes_are_pictures_too() -> None:
    views = np.concatenate([np.zeros((1, 4, 4)), np.ones((1, 4, 4))])
    assert pixels(png(views)).shape == (4, 8, 3)
    assert pixels(png(views))[:, 4:].min() == 255
    assert pixels(png(np.full((6, 4, 4), 0.5))).shape == (4, 8, 3)
    point = pixels(png(np.array([0.0, 1.0]).reshape(2, 1, 1)))
    assert point[0, :, 0].tolist() == [0, 255]


def test_captions_stand_beneath_and_empty_places_stay_empty() -> None:
    rows = [
        {"row": "a", "column": "one", "image": png(COLOUR.numpy()), "caption": "cat\n90%"},
        {"row": "b", "column": "two", "image": png(COLOUR.numpy()), "caption": ""},
    ]
    figure = sheet(frame(rows), "title")
    assert figure.get_suptitle() == "title"
    assert [panel.get_xlabel() for panel in figure.axes] == ["cat\n90%", ""]
    assert [text.get_text() for text in figure.texts if text.get_text() in "ab"] == ["a", "b"]


def test_severities_stand_in_their_order_whichever_comes_first() -> None:
    columns = ["clean", "severity 3", "severity 1", "severity 2"]
    assert pictures.heads(pd.DataFrame({"column": columns})) == ["clean", "severity 1", "severity 2", "severity 3"]
    assert pictures.heads(pd.DataFrame({"column": ["clean", "x10", "attacked"]})) == ["clean", "x10", "attacked"]
