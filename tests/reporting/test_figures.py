from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from robusteval.core.errors import InputError, RecordError
from robusteval.data import DATA, Split
from robusteval.reporting.figures import COLOURS, Window, decision_regions, learning_curves, regions, save

BLOBS = DATA.parse("blobs").split("train")
WHOLE = Window(0, 1, 0, 1)


class Linear(nn.Module):
    """Class 1 to the right of 0.5 + slope (x2 - 0.5), with a steepness."""

    def __init__(self, steepness: float, slope: float = 0.0) -> None:
        super().__init__()
        self.steepness, self.slope = steepness, slope

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        score = self.steepness * (x[:, 0, 0, 0] - 0.5 - self.slope * (x[:, 1, 0, 0] - 0.5))
        return torch.stack([-score, score], dim=1) / 2


def rgb(label: int) -> np.ndarray:
    return np.array([int(COLOURS[label][start : start + 2], 16) / 255 for start in (1, 3, 5)])


def frame(**more: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"epoch": [1, 2, 3], "lr": [0.1, 0.05, 0.0], "loss": [2.0, 1.0, 0.5], **more})


def test_the_raster_shows_a_known_boundary() -> None:
    image = regions(Linear(1e4, slope=0.5), WHOLE, resolution=100)
    place = (np.arange(100) + 0.5) / 100
    right = place[None, :] > 0.5 + 0.5 * (place[:, None] - 0.5)  # [row, column], the lowest row first
    assert image.shape == (100, 100, 3)
    for label, part in ((0, ~right), (1, right)):
        certain = 1 - 0.7 * (1 - rgb(label))
        assert np.allclose(image[part], certain, atol=1e-6)


def test_the_colour_fades_to_white_at_chance() -> None:
    image = regions(Linear(8.0), WHOLE, resolution=200)
    whiteness = image[0].mean(axis=1)
    assert whiteness.argmax() in (99, 100)
    assert (np.diff(whiteness[:100]) > 0).all()
    assert (np.diff(whiteness[100:]) < 0).all()
    probability = 1 / (1 + np.exp(-8 * (0.9975 - 0.5)))
    assert np.allclose(image[7, -1], 1 - (0.1 + 0.6 * (2 * probability - 1)) * (1 - rgb(1)), atol=1e-6)


def test_each_model_has_its_panel() -> None:
    two = Split.of(BLOBS.images, BLOBS.labels % 2, ("left", "right"))
    models = {f"model {number}": Linear(1e4, number / 9) for number in range(6)}
    figure = decision_regions(models, two)
    assert [panel.get_title() for panel in figure.axes] == list(models)
    for panel, model in zip(figure.axes, models.values(), strict=True):
        (raster,), (dots,) = panel.images, panel.collections
        window = Window(*raster.get_extent())
        assert np.allclose(raster.get_array(), regions(model, window))
        assert panel.get_xlim() == window[:2]
        assert np.allclose(dots.get_offsets(), two.images[:1000, :, 0, 0])
        assert np.allclose(dots.get_facecolors()[:, :3], [rgb(label) for label in two.labels])
        assert panel.get_xlabel() == "x₁ (pixel units)"
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["left", "right"]


@pytest.mark.parametrize("classes", [3, 9])
def test_it_draws_up_to_nine_classes(classes: int, tmp_path: Path) -> None:
    toy = DATA.parse(f"blobs(samples=90, count={classes})").split("train")
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, classes))
    figure = decision_regions({"linear": network.eval()}, toy)
    assert len(figure.legends[0].get_texts()) == classes
    save(figure, tmp_path / "regions.png")


@pytest.mark.parametrize(
    ("data", "models", "said"),
    [
        ("digits", {"a": Linear(1)}, r"data=\(1, 8, 8\): must be points of the plane"),
        ("cubes(dimension=3)", {"a": Linear(1)}, r"data=\(3, 1, 1\): must be points of the plane"),
        ("blobs(count=10)", {"a": Linear(1)}, "classes=10: must be at most 9"),
        ("moons", {}, "models=0: must be at least one"),
    ],
)
def test_what_cannot_be_drawn_is_said(data: str, models: dict[str, nn.Module], said: str) -> None:
    with pytest.raises(InputError, match=said):
        decision_regions(models, DATA.parse(data).split("train"))


@pytest.mark.parametrize("points", [[[0.4, 0.4], [0.6, 0.5]], [[0, 0.02], [0.2, 0.1]], [[0, 0], [1, 1]], [[0.3, 1]]])
def test_the_window_is_a_square_round_the_points_in_the_box(points: list[list[float]]) -> None:
    array = np.array(points, dtype=np.float32)
    window = Window.round(array)
    assert window.right - window.left == pytest.approx(window.top - window.bottom)
    assert min(window) >= 0
    assert max(window) <= 1
    assert (array >= [window.left, window.bottom]).all()
    assert (array <= [window.right, window.top]).all()


def test_curves_have_units_and_names() -> None:
    shown = learning_curves(
        frame(validation_accuracy=[0.5, 0.7, 0.9], validation_nll=[1.5, 1.0, 0.9], weight=[1.0, 0.9, 0.8]), "spirals"
    )
    panels = {panel.get_ylabel(): panel for panel in shown.axes}
    assert list(panels) == ["loss (nats)", "accuracy (%)", "learning rate", "weight"]
    assert shown.get_suptitle() == "spirals"
    assert [line.get_label() for line in panels["loss (nats)"].lines] == ["training", "validation"]
    assert list(panels["loss (nats)"].lines[1].get_ydata()) == [1.5, 1.0, 0.9]
    assert list(panels["accuracy (%)"].lines[0].get_ydata()) == [50, 70, 90]
    assert all(panel.get_xlabel() == "epoch" and panel.get_legend() is not None for panel in shown.axes)


def test_another_validation_metric_is_a_panel_of_its_own() -> None:
    shown = learning_curves(frame(validation_borderline=[0, 0, 0]), "title")
    assert shown.axes[-1].get_ylabel() == "borderline"
    assert shown.axes[-1].lines[0].get_label() == "validation"


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (frame().drop(columns="epoch"), "must have a column 'epoch'"),
        (frame().drop(columns="loss"), "must have a column 'loss'"),
        (frame().head(0), "frame=0: must have a row for each epoch"),
    ],
)
def test_a_frame_without_curves_is_refused(broken: pd.DataFrame, said: str) -> None:
    with pytest.raises(InputError, match=said):
        learning_curves(broken, "title")


@pytest.mark.parametrize("kind", ["png", "svg"])
@pytest.mark.parametrize("which", ["regions", "curves"])
def test_a_figure_is_saved_twice_with_the_same_bytes(kind: str, which: str, tmp_path: Path) -> None:
    def drawn():
        if which == "curves":
            return learning_curves(frame(weight=[1, 0.9, 0.8]), "title")
        return decision_regions({"a": Linear(5), "b": Linear(50)}, DATA.parse("moons(samples=50)").split("train"))

    one, two = tmp_path / f"one.{kind}", tmp_path / f"two.{kind}"
    save(drawn(), one)
    save(drawn(), two)
    assert one.read_bytes() == two.read_bytes()
    assert one.read_bytes().startswith(b"\x89PNG" if kind == "png" else b"<?xml")


def test_a_figure_that_cannot_be_saved_is_said(tmp_path: Path) -> None:
    figure = learning_curves(frame(), "title")
    with pytest.raises(InputError, match=r"must end in .png or .svg"):
        save(figure, tmp_path / "figure.pdf")
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="cannot be written"):
        save(figure, tmp_path / "file" / "figure.svg")


def test_a_dollar_in_a_name_is_no_formula(tmp_path):
    from matplotlib.figure import Figure

    figure = Figure()
    panel = figure.add_subplot(title="a$x^$ & b")
    panel.plot([1, 10], [1, 100], label="$")
    panel.set_yscale("log")
    panel.legend()
    save(figure, tmp_path / "figure.svg")
    assert (tmp_path / "figure.svg").stat().st_size > 1000
