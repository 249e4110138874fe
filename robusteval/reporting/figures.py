"""Figures: where models of two-dimensional data decide what, and how a training went."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from robusteval.core import files
from robusteval.core.errors import RecordError, require
from robusteval.data import Split

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#332288", "#CC6677", "#44AA99", "#DDCC77", "#88CCEE", "#882255", "#117733", "#999933", "#AA4499")
"""Nine colours that colour-blind readers tell apart: Paul Tol's `muted`, in another order."""

_RESOLUTION = 300
_MOST_POINTS = 1000
_FEW_EPOCHS = 30


class Window(NamedTuple):
    """A part of the plane, in pixel units."""

    left: float
    right: float
    bottom: float
    top: float

    @classmethod
    def round(cls, points: NDArray[np.float32]) -> "Window":
        """The square round points [n, 2], with a margin, inside [0, 1] x [0, 1]."""
        low, high = points.min(axis=0), points.max(axis=0)
        half = max(0.01, 0.55 * float((high - low).max()))
        # Where the square would cross an edge of the box it is moved inwards.
        left, bottom = (float(np.clip(middle - half, 0, max(0, 1 - 2 * half))) for middle in (low + high) / 2)
        return cls(left, min(1.0, left + 2 * half), bottom, min(1.0, bottom + 2 * half))


def decision_regions(models: Mapping[str, nn.Module], split: Split) -> "Figure":
    """One panel for each model: its decisions over the plane, and the first 1,000 points of a split.

    Args:
        models: by the title of their panel; in eval mode, on the CPU.
        split: points of the plane, [n, 2, 1, 1], of at most nine classes.

    Raises:
        InputError: the points are not of the plane, there are more classes than colours, or there is no model.
    """
    require(split.shape == (2, 1, 1), "data", "must be points of the plane, of shape (2, 1, 1)", split.shape)
    require(len(split.classes) <= len(COLOURS), "classes", f"must be at most {len(COLOURS)}", len(split.classes))
    require(len(models) > 0, "models", "must be at least one", 0)
    shown = split.first(_MOST_POINTS).batch()
    points, labels = shown.x.flatten(1).numpy(), shown.y.numpy()
    window = Window.round(points)
    figure, panels = _panels(len(models), most=4, width=3.2, height=3.2)
    for panel, (title, model) in zip(panels, models.items(), strict=True):
        panel.imshow(regions(model, window), origin="lower", extent=window, interpolation="nearest", aspect="equal")
        colours = [COLOURS[label] for label in labels]
        panel.scatter(points[:, 0], points[:, 1], 9, colours, edgecolors="white", linewidths=0.4, rasterized=True)
        panel.set(title=title, xlabel="x₁ (pixel units)", ylabel="x₂ (pixel units)", xlim=window[:2])
        panel.set_ylim(window[2:])
    _class_legend(figure, split.classes)
    return figure


def regions(model: nn.Module, window: Window, resolution: int = _RESOLUTION) -> NDArray[np.float64]:
    """The colour of the predicted class, [resolution, resolution, 3] in [0, 1], the lowest row first.

    It fades to white as the probability of that class falls to chance.
    """
    across, up = (
        low + (high - low) * (np.arange(resolution) + 0.5) / resolution for low, high in (window[:2], window[2:])
    )
    grid = torch.from_numpy(np.stack(np.meshgrid(across, up), axis=-1)).to(torch.float32).reshape(-1, 2, 1, 1)
    with torch.no_grad():
        probabilities = model(grid).softmax(dim=1)
    confidence, predicted = probabilities.max(dim=1)
    chance = 1 / probabilities.shape[1]
    strength = 0.1 + 0.6 * (confidence.double().numpy() - chance) / (1 - chance)
    full = np.array([_rgb(colour) for colour in COLOURS])[predicted.numpy()]
    painted: NDArray[np.float64] = 1 - strength[:, None] * (1 - full)
    return painted.reshape(resolution, resolution, 3)


class Curves(NamedTuple):
    """A panel of learning curves: its label with the unit, the column of each curve by its name, a factor."""

    label: str
    columns: Mapping[str, str]
    factor: float = 1.0


_STYLES = {"training": "-", "validation": "--"}
_TINTS = {"training": COLOURS[0], "validation": COLOURS[1]}
_CURVES = (
    Curves("loss (nats)", {"training": "loss", "validation": "validation_nll"}),
    Curves("accuracy (%)", {"validation": "validation_accuracy"}, 100),
    Curves("calibration error (%)", {"validation": "validation_ece"}, 100),
    Curves("Brier score", {"validation": "validation_brier"}),
    Curves("learning rate", {"training": "lr"}),
)


def learning_curves(frame: pd.DataFrame, title: str) -> "Figure":
    """A panel for each quantity of a training over its epochs.

    The training loss is the variant's own, against mixed labels where it mixes: compare it between epochs, not with the
    validation loss.

    Args:
        frame: a row per epoch, with the columns `epoch` and `loss` and any others, each of which is shown.
        title: of the figure.

    Raises:
        InputError: a column is missing, or there is no epoch.
    """
    from matplotlib.ticker import MaxNLocator

    for column in ("epoch", "loss"):
        require(column in frame.columns, "frame", f"must have a column {column!r}", list(frame.columns))
    require(len(frame) > 0, "frame", "must have a row for each epoch", len(frame))
    shown = [*_known(frame), *_notes(frame)]
    figure, panels = _panels(len(shown), most=3, width=3.4, height=2.5)
    for panel, curves in zip(panels, shown, strict=True):
        for name, column in curves.columns.items():
            (line,) = panel.plot(frame["epoch"], curves.factor * frame[column], _STYLES[name], label=name)
            line.set(color=_TINTS[name], marker="." if len(frame) < _FEW_EPOCHS else "")
        panel.set(xlabel="epoch", ylabel=curves.label)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        panel.grid(visible=True, color="0.9")
        panel.legend(frameon=False)
    figure.suptitle(title)
    return figure


def save(figure: "Figure", path: Path) -> None:
    """Write a figure as .png or .svg; equal figures give equal bytes.

    Raises:
        InputError: the path ends otherwise.
        RecordError: it cannot be written.
    """
    import matplotlib as mpl
    from matplotlib.text import Text

    kind = path.suffix.removeprefix(".")
    require(kind in ("png", "svg"), "path", "must end in .png or .svg", str(path))
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    for text in figure.findobj(lambda each: isinstance(each, Text)):
        # Names of models and classes may hold dollar signs; the only formulas are matplotlib's own numbers.
        if isinstance(text, Text) and "mathdefault" not in text.get_text():
            text.set_parse_math(False)
    with mpl.rc_context({"svg.hashsalt": "robusteval"}):
        files.write(path, lambda file: figure.savefig(file, format=kind, dpi=150, metadata=metadata), RecordError)


def _known(frame: pd.DataFrame) -> list[Curves]:
    """The panels whose unit is known, each with the curves that the frame has."""
    found = [
        curves._replace(columns={name: column for name, column in curves.columns.items() if column in frame.columns})
        for curves in _CURVES
    ]
    return [curves for curves in found if curves.columns]


def _notes(frame: pd.DataFrame) -> list[Curves]:
    """A panel for each other column: another metric, or what the variant notes."""
    known = {"epoch", *(column for curves in _CURVES for column in curves.columns.values())}
    return [
        Curves(name.removeprefix("validation_"), {"validation" if name.startswith("validation_") else "training": name})
        for name in map(str, frame.columns)
        if name not in known
    ]


def _panels(count: int, most: int, width: float, height: float) -> "tuple[Figure, Sequence[Axes]]":
    """A figure with panels of a size in inches, at most so many in a row."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    columns = min(count, most)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(columns * width + 0.6, rows * height + 0.6), layout=ConstrainedLayoutEngine(h_pad=0.07))
    return figure, [figure.add_subplot(rows, columns, number + 1) for number in range(count)]


def _class_legend(figure: "Figure", classes: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    dots = [
        Line2D([], [], color=colour, linestyle="", marker="o", label=name)
        for colour, name in zip(COLOURS, classes, strict=False)
    ]
    figure.legend(handles=dots, title="class (paler: less certain)", loc="outside lower center", ncols=9, frameon=False)


def _rgb(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
