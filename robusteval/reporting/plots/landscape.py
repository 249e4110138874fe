"""The loss around models in weight space and around their samples (Li et al. 2018, arXiv:1712.09913)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from robusteval.probes.slices import pooled
from robusteval.reporting import landscapes
from robusteval.reporting.figures import COLOURS
from robusteval.reporting.plots import looks
from robusteval.reporting.plots.plot import Chart
from robusteval.reporting.plots.record import Record

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from matplotlib.figure import Figure

_TITLES: Mapping[str, str] = {
    "weights-1d": "line in weight space",
    "weights-2d": "plane in weight space",
    "inputs-2d": "plane around the samples",
}
_PANELS, _ACROSS = 6, 2
_WEIGHTS = ("direction 1 (lengths)", "direction 2 (lengths)")
_INPUT = ("gradient's signs (eps)", "random signs (eps)")


@dataclass(frozen=True)
class Landscape(Chart):
    """The grids of the views of the probe `landscape`: lines, and each plane as level lines and as a surface."""

    name: ClassVar[str] = "landscape"
    title: ClassVar[str] = "Loss landscapes"
    about: ClassVar[str] = (
        "Mean cross-entropy in nats around each model, along random directions in weight space that are as long as the "
        "weights, filter by filter; and around the samples, along the sign of the loss gradient and random signs. "
        "Panels of one figure share their scale."
    )
    order: ClassVar[int] = 60

    def frames(self, record: Record) -> dict[str, pd.DataFrame]:
        """By slice and way of drawing it: a row per model and point, with `a` (and `b`), `loss`, `accuracy` and `n`."""
        views = record.views[record.views["kind"].eq("landscape")]
        found: dict[str, pd.DataFrame] = {}
        for view, cells in views.groupby("view", sort=False):
            grids = {model: record.grids(cell) for model, cell in zip(cells["model"], cells["cell"], strict=True)}
            for grid in _TITLES:
                own = {str(model): pooled(parts[grid]) for model, parts in grids.items() if grid in parts}
                end = "" if views["view"].nunique() == 1 else f", {view}"
                found.update(_named(grid, own, end, record.variants))
        return found

    def static(self, name: str, frame: pd.DataFrame) -> "Figure":
        """As `robusteval.reporting.landscapes` draws it."""
        grids = {str(model): grid for model, grid in frame.groupby("model", sort=False)}
        if name.startswith("line"):
            figure = landscapes.line(grids)
        elif ", surface" in name:
            figure = landscapes.surface(grids, axes=_axes(name))
        else:
            figure = landscapes.contour(grids, axes=_axes(name))
        figure.suptitle(f"Loss on the {name}")
        return figure

    def interactive(self, name: str, frame: pd.DataFrame) -> "go.Figure":
        """Lines, level lines, or surfaces that turn."""
        if name.startswith("line"):
            return _lines(name, frame)
        sheets = {str(model): landscapes.sheet(grid) for model, grid in frame.groupby("model", sort=False)}
        return _planes(name, sheets, "surface" if ", surface" in name else "contour")


def _named(
    grid: str, own: Mapping[str, pd.DataFrame], end: str, variants: Mapping[str, str]
) -> dict[str, pd.DataFrame]:
    """The figures of a slice, of so many models each as have a place."""
    most, kinds = (len(COLOURS), [""]) if grid == "weights-1d" else (_PANELS, [", level lines", ", surface"])
    groups, found = [list(own)[start : start + most] for start in range(0, len(own), most)], {}
    for kind in kinds:
        for number, models in enumerate(groups):
            part = "" if len(groups) == 1 else f", part {number + 1} of {len(groups)}"
            parts = [own[model].assign(model=model, variant=variants[model]) for model in models]
            found[f"{_TITLES[grid]}{kind}{end}{part}"] = pd.concat(parts, ignore_index=True)
    return found


def _axes(name: str) -> tuple[str, str]:
    return landscapes.INPUT_AXES if "samples" in name else landscapes.WEIGHT_AXES


def _lines(name: str, frame: pd.DataFrame) -> "go.Figure":
    figure = looks.page(f"Loss on the {name}", entries=frame["model"].nunique())
    for colour, (model, grid) in zip(COLOURS, frame.groupby("model", sort=False), strict=False):
        rows = grid.sort_values("a")
        said = [f"{model}, at {a:.2f}: {loss:.4g} nats" for a, loss in zip(rows["a"], rows["loss"], strict=True)]
        figure.add_scatter(
            x=[*rows["a"]], y=[*rows["loss"]], mode="lines", line={"color": colour}, name=str(model), text=said
        )
    figure.update_traces(hoverinfo="text")
    figure.update_xaxes(looks.axis(landscapes.WEIGHT_AXES[0]))
    figure.update_yaxes(looks.axis("loss (nats)", type="log" if frame["loss"].gt(0).all() else "linear"))
    return figure


def _planes(name: str, sheets: Mapping[str, landscapes.Sheet], kind: str) -> "go.Figure":
    """A panel for each model, heights and colours as the decimal logarithm of the loss, on one scale."""
    from plotly.subplots import make_subplots

    columns = min(len(sheets), _ACROSS)
    rows = -(-len(sheets) // columns)
    margin = {"l": 50, "r": 20, "t": 80, "b": 50}
    layout = looks.page(f"Loss on the {name}", 110 + 340 * rows, showlegend=False, margin=margin)
    places = [[{"type": "scene" if kind == "surface" else "xy"}] * columns] * rows
    titles, gaps = list(sheets), {"horizontal_spacing": 0.09, "vertical_spacing": 0.3 / rows}
    figure = make_subplots(rows, columns, specs=places, subplot_titles=titles, figure=layout, **gaps)
    heights = {model: np.log10(np.maximum(found.values, 1e-12)) for model, found in sheets.items()}
    low, high = (float(pick([pick(values) for values in heights.values()])) for pick in (np.min, np.max))
    shared = {"cmin": low, "cmax": high} if kind == "surface" else {"zmin": low, "zmax": high}
    for number, (model, found) in enumerate(sheets.items()):
        trace = {
            "type": kind,
            "x": found.a,
            "y": found.b,
            "z": heights[model].T,
            "colorscale": "Viridis",
            "showscale": number == 0,
            "colorbar": {"title": {"text": "log10 loss", "side": "right"}},
            "customdata": found.values.T,
            "hovertemplate": f"{model} at (%{{x:.2f}}, %{{y:.2f}}): %{{customdata:.4g}} nats<extra></extra>",
            **shared,
        }
        figure.add_trace(trace, row=number // columns + 1, col=number % columns + 1)
    across, up = _INPUT if "samples" in name else _WEIGHTS
    figure.update_xaxes(looks.axis(across))
    figure.update_yaxes(looks.axis(up))
    figure.update_scenes(_scene(across, up, low, high))
    return figure


def _scene(across: str, up: str, low: float, high: float) -> dict[str, Any]:
    """Axes of a surface, heights from low to high in every panel."""
    axes = {"xaxis": across, "yaxis": up, "zaxis": "log10 loss"}
    small = {"font": {"size": 10}}
    found: dict[str, Any] = {
        **{axis: {"title": {"text": text, **small}, "tickfont": {"size": 9}} for axis, text in axes.items()},
        "aspectmode": "cube",
        "camera": {"eye": {"x": 1.6, "y": -1.6, "z": 0.9}},
    }
    found["zaxis"]["range"] = [low, high if high > low else low + 1]
    return found
