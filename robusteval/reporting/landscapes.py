"""Figures of landscapes: grids of `robusteval.probes.slices` as lines, contours and surfaces.

As in Li et al. (2018, arXiv:1712.09913). Panels of one figure share their scale, so that models can be compared.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from robusteval.core.errors import require
from robusteval.reporting.figures import COLOURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

WEIGHT_AXES = ("along direction 1 (lengths of the weights)", "along direction 2 (lengths of the weights)")
INPUT_AXES = ("along the sign of the gradient (eps)", "along random signs (eps)")

_LEVELS = 12
_LABELS = {"loss": "loss (nats)", "accuracy": "accuracy (%)"}
_FACTORS = {"loss": 1.0, "accuracy": 100.0}
_MOST_IN_A_ROW = 3


class Sheet(NamedTuple):
    """A plane as arrays: coordinates [p] and [q], values [p, q] for each pair of them."""

    a: Floats
    b: Floats
    values: Floats


def line(grids: Mapping[str, pd.DataFrame], column: str = "loss", axis: str = WEIGHT_AXES[0]) -> "Figure":
    """A curve for each model over one direction; loss on a logarithmic scale.

    Args:
        grids: by the name of their curve, with the columns `a` and `loss` or `accuracy`; nine at most.
        column: what is drawn.
        axis: what the direction is.

    Raises:
        InputError: there is none or are too many, a column is missing, or values are not finite.
    """
    from matplotlib.figure import Figure

    require(0 < len(grids) <= len(COLOURS), "grids", f"must be 1 to {len(COLOURS)}", len(grids))
    figure = Figure(figsize=(5.2, 3.4), layout="constrained")
    panel = figure.add_subplot()
    for colour, (name, grid) in zip(COLOURS, grids.items(), strict=False):
        _check(grid, ("a", column))
        ordered = grid.sort_values("a")
        panel.plot(ordered["a"], _FACTORS[column] * ordered[column], color=colour, label=name)
    if column == "loss" and all((grid["loss"] > 0).all() for grid in grids.values()):
        panel.set_yscale("log")
    panel.set(xlabel=axis, ylabel=_LABELS[column])
    panel.grid(visible=True, color="0.9")
    panel.legend(frameon=False)
    return figure


def contour(grids: Mapping[str, pd.DataFrame], column: str = "loss", axes: tuple[str, str] = WEIGHT_AXES) -> "Figure":
    """A panel of level lines for each model over two directions; the cross is the model itself.

    Args:
        grids: by the title of their panel, with the columns `a`, `b` and `loss` or `accuracy`.
        column: what is drawn.
        axes: what the directions are.

    Raises:
        InputError: there is none, a column is missing, values are not finite, or points do not form a grid.
    """
    sheets = _sheets(grids, column)
    levels = _levels(sheets, column)
    figure, places = _figure(len(sheets), 3.3, 3.0)
    for place, (name, found) in zip(places, sheets.items(), strict=True):
        panel = figure.add_subplot(*place)
        filled = panel.contourf(found.a, found.b, found.values.T, levels=levels, norm=_norm(levels), cmap="viridis")
        panel.contour(found.a, found.b, found.values.T, levels=levels, colors="white", linewidths=0.4)
        panel.plot(0, 0, "+", color="#CC6677", markersize=9)
        panel.set(title=name, aspect="equal")
        _label(panel, axes)
    figure.colorbar(filled, ax=figure.axes, label=_LABELS[column], format="%.3g")
    return figure


def surface(grids: Mapping[str, pd.DataFrame], column: str = "loss", axes: tuple[str, str] = WEIGHT_AXES) -> "Figure":
    """A panel for each model with the values as heights over two directions; loss as its decimal logarithm.

    Args:
        grids: by the title of their panel, with the columns `a`, `b` and `loss` or `accuracy`.
        column: what is drawn.
        axes: what the directions are.

    Raises:
        InputError: there is none, a column is missing, values are not finite, or points do not form a grid.
    """
    sheets = _sheets(grids, column)
    heights = {name: found.values for name, found in sheets.items()}
    if column == "loss":
        heights = {name: _height(values, heights) for name, values in heights.items()}
    low, high = min(part.min() for part in heights.values()), max(part.max() for part in heights.values())
    figure, places = _figure(len(sheets), 4.2, 3.8)
    for place, (name, found) in zip(places, sheets.items(), strict=True):
        panel: Any = figure.add_subplot(*place, projection="3d")
        across, up = np.meshgrid(found.a, found.b, indexing="ij")
        panel.plot_surface(across, up, heights[name], cmap="viridis", vmin=low, vmax=high, linewidth=0)
        panel.set(title=name, zlim=(low, high if high > low else low + 1))
        panel.set_box_aspect(None, zoom=0.85)
        _label(panel, axes)
        panel.set_zlabel("log10 loss" if column == "loss" else _LABELS[column], fontsize=7)
        panel.tick_params(labelsize=6)
    return figure


def sheet(grid: pd.DataFrame, column: str = "loss") -> Sheet:
    """A two-dimensional grid as arrays.

    Raises:
        InputError: a column is missing, values are not finite, or points do not form a grid.
    """
    _check(grid, ("a", "b", column))
    table = grid.pivot_table(index="a", columns="b", values=column, aggfunc="first")
    full = table.size == len(grid) and bool(table.notna().to_numpy().all()) and min(table.shape) > 1
    require(full, "grid", "must have one row for each pair of coordinates, of two at least", (len(grid), *table.shape))
    values = _FACTORS[column] * table.to_numpy(np.float64)
    return Sheet(table.index.to_numpy(np.float64), table.columns.to_numpy(np.float64), values)


def _label(panel: Any, axes: tuple[str, str]) -> None:
    panel.set_xlabel(axes[0], fontsize=7)
    panel.set_ylabel(axes[1], fontsize=7)


def _sheets(grids: Mapping[str, pd.DataFrame], column: str) -> dict[str, Sheet]:
    require(len(grids) > 0, "grids", "must be at least one", 0)
    return {name: sheet(grid, column) for name, grid in grids.items()}


def _check(grid: pd.DataFrame, columns: tuple[str, ...]) -> None:
    require(columns[-1] in _LABELS, "column", "must be 'loss' or 'accuracy'", columns[-1])
    for name in columns:
        require(name in grid.columns, "grid", f"must have a column {name!r}", list(grid.columns))
    finite = bool(np.isfinite(grid[list(columns)].to_numpy(np.float64)).all())
    require(len(grid) > 0 and finite, "grid", "must have rows, all finite", len(grid))


def _levels(sheets: Mapping[str, Sheet], column: str) -> Floats:
    """Level lines for all panels, spaced evenly in the logarithm of the loss where that is possible."""
    low = min(float(found.values.min()) for found in sheets.values())
    high = max(float(found.values.max()) for found in sheets.values())
    if high <= low:
        return np.array([low - 0.5, low + 0.5])
    space = np.geomspace if column == "loss" and low > 0 else np.linspace
    spaced: Floats = space(low, high, _LEVELS)
    spaced[[0, -1]] = low, high
    return spaced


def _norm(levels: Floats) -> Any:
    """One colour step for each level."""
    from matplotlib.colors import BoundaryNorm

    return BoundaryNorm(levels, 256, extend="neither")


def _height(values: Floats, everyone: Mapping[str, Floats]) -> Floats:
    """The decimal logarithm; a loss of 0 stands at the smallest one above."""
    positive = [others[others > 0] for others in everyone.values()]
    least = min((float(part.min()) for part in positive if part.size), default=1.0)
    heights: Floats = np.log10(np.maximum(values, least))
    return heights


def _figure(count: int, width: float, height: float) -> "tuple[Figure, list[tuple[int, int, int]]]":
    """An empty figure, and the places of its panels, each of a size in inches."""
    from matplotlib.figure import Figure

    columns = min(count, _MOST_IN_A_ROW)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(columns * width + 0.8, rows * height + 0.4), layout="constrained")
    return figure, [(rows, columns, number + 1) for number in range(count)]
