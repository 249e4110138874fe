"""Reliability diagrams and histograms of confidence (Guo et al. 2017, arXiv:1706.04599)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from robusteval.core.errors import require
from robusteval.metrics.functional.reliability import reliability_table
from robusteval.reporting.figures import COLOURS
from robusteval.reporting.plots import looks
from robusteval.reporting.plots.choice import corrupted_views, strongest_attack
from robusteval.reporting.plots.plot import Chart
from robusteval.reporting.plots.record import Record

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from matplotlib.figure import Figure

_READ = ["sample", "confidence", "correct"]
_IN_A_ROW = 3
_ACROSS = 4


@dataclass(frozen=True)
class Reliability(Chart):
    """A figure for each model with a diagram for each view, and how confident the model is beneath.

    By default the views are clean, every attack, every corrupted view of the first set, and all of these as one, a
    sample in all of which is resampled together. Of many attacks that which leaves the lowest accuracy stands for all,
    and many corrupted views are shown as one alone.

    Attributes:
        views: of the record, instead of those.
        most: attacks, and corrupted views, more of which are many.
        bins: of equal width.
        draws: bootstrap draws of the bands.
    """

    name: ClassVar[str] = "reliability"
    title: ClassVar[str] = "Reliability"
    about: ClassVar[str] = (
        "Accuracy against confidence, bin by bin, with 95% bootstrap bands over samples; a calibrated model is on the "
        "diagonal, an overconfident one beneath it. Below: the share of answers in each bin."
    )
    order: ClassVar[int] = 30

    views: tuple[str, ...] = ()
    most: int = 6
    bins: int = 15
    draws: int = 1000

    def __post_init__(self) -> None:
        require(self.most >= 0, "most", "must not be negative", self.most)
        require(self.bins >= 1, "bins", "must be at least 1", self.bins)
        require(self.draws >= 1, "draws", "must be at least 1", self.draws)

    def frames(self, record: Record) -> dict[str, pd.DataFrame]:
        """By model: a row per view and bin, with the columns of `robusteval.metrics.reliability_diagram`, and `n`."""
        chosen = {view: [view] for view in self.views} or self._usual(record)
        found = {}
        for model in record.models:
            parts = [self._table(record, model, title, views) for title, views in chosen.items()]
            present = [part for part in parts if part is not None]
            if present:
                found[model] = pd.concat(present, ignore_index=True)
        return found

    def static(self, name: str, frame: pd.DataFrame) -> "Figure":
        """A panel for each view, and its histogram beneath."""
        from matplotlib.figure import Figure

        views = dict(list(frame.groupby("view", sort=False)))
        across = min(len(views), _ACROSS)
        down = -(-len(views) // across)
        figure = Figure(figsize=(0.7 + 2.9 * across, 0.6 + 4.0 * down), layout="constrained")
        grid = figure.add_gridspec(2 * down, across, height_ratios=(3, 1) * down)
        for place, (view, rows) in enumerate(views.items()):
            line, column = divmod(place, across)
            above = figure.add_subplot(grid[2 * line, column])
            below = figure.add_subplot(grid[2 * line + 1, column], sharex=above)
            _diagram(above, rows)
            below.bar(rows["low"], 100 * rows["share"], _width(rows), align="edge", color=COLOURS[4], edgecolor="white")
            above.set_title(f"{view!s}\n{_summary(rows)}", fontsize=8)
            above.tick_params(labelbottom=False)
            below.set_xlabel("confidence (%)")
            below.set_xticks(np.linspace(0, 1, 6), [f"{tick:.0f}" for tick in np.linspace(0, 100, 6)])
            if column == 0:
                above.set_ylabel("accuracy (%)")
                below.set_ylabel("answers (%)")
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
        figure.suptitle(f"Reliability of {name}")
        return figure

    def interactive(self, name: str, frame: pd.DataFrame) -> "go.Figure":
        """The diagrams of all views in one, each in its colour, and their histograms beneath."""
        from plotly.subplots import make_subplots

        entries = _IN_A_ROW * (1 + frame["view"].nunique())  # which are long
        rows = {"rows": 2, "shared_xaxes": True, "row_heights": [0.72, 0.28], "vertical_spacing": 0.05}
        figure = make_subplots(
            figure=looks.page(f"Reliability of {name}", 500, entries, barmode="group", bargap=0.1), **rows
        )
        diagonal = {"color": looks.GREY, "dash": "dash"}
        figure.add_scatter(x=[0, 100], y=[0, 100], mode="lines", line=diagonal, name="calibrated", hoverinfo="skip")
        for number, (view, part) in enumerate(frame.groupby("view", sort=False)):
            for trace, row in _traces(str(view), part, COLOURS[number % len(COLOURS)]):
                figure.add_trace(trace, row=row, col=1)
        figure.update_xaxes(looks.axis("", range=[0, 101]))
        figure.update_xaxes(title_text="confidence (%)", row=2, col=1)
        figure.update_yaxes(looks.axis("accuracy (%)", range=[0, 101]), row=1, col=1)
        figure.update_yaxes(looks.axis("answers (%)", rangemode="tozero"), row=2, col=1)
        return figure

    def _usual(self, record: Record) -> dict[str, list[str]]:
        """The views of a report that its diagrams show, by their title."""
        kinds = record.metrics.drop_duplicates("view").set_index("view")["kind"]
        clean, attacks = ([str(view) for view in kinds.index[kinds.eq(kind)]] for kind in ("clean", "attack"))
        strongest, corrupted = strongest_attack(record), corrupted_views(record)
        if len(attacks) > self.most:
            attacks = [] if strongest is None else [strongest]
        alone = corrupted if len(corrupted) <= self.most else []
        found = {view: [view] for view in (*clean, *attacks, *alone)}
        return found | ({f"{len(corrupted)} corrupted views": corrupted} if len(corrupted) > 1 else {})

    def _table(self, record: Record, model: str, title: str, views: Sequence[str]) -> pd.DataFrame | None:
        """The bins of some views of a model as one; nothing unless it was run on all of them."""
        cells = [record.cell(model, view) for view in views]
        read = [record.samples(cell, _READ).set_index("sample") for cell in cells if cell is not None]
        if len(read) < len(cells) or not all(len(part) for part in read):
            return None
        joined = pd.concat(read, axis=1, join="inner", keys=range(len(read)))
        confidence, correct = (joined.xs(column, axis=1, level=1).to_numpy() for column in _READ[1:])
        weights = record.resampling(joined.index.to_numpy(np.int64), self.draws)
        table = reliability_table(confidence.astype(np.float64), correct.astype(bool), weights, self.bins)
        return table.assign(model=model, view=title, n=len(joined))


def _diagram(panel: Any, rows: pd.DataFrame) -> None:
    """The diagonal, the bins that hold samples, and their band."""
    full = rows[rows["count"].gt(0)]
    panel.plot([0, 1], [0, 100], "--", color=looks.GREY, linewidth=1, label="calibrated")
    band = 100 * full["accuracy_low"], 100 * full["accuracy_high"]
    panel.fill_between(full["confidence"], *band, color=COLOURS[0], alpha=0.2, linewidth=0, label="95% band")
    dots = {"color": COLOURS[0], "markersize": 3, "label": "accuracy in bin"}
    panel.plot(full["confidence"], 100 * full["accuracy"], "o-", **dots)
    panel.set(xlim=(0, 1), ylim=(0, 100))
    panel.grid(visible=True, color="0.9")


def _width(rows: pd.DataFrame) -> "pd.Series[float]":
    return rows["high"] - rows["low"]


def error(rows: pd.DataFrame) -> float:
    """The expected calibration error of bins: the mean gap, weighted by share."""
    return float((rows["share"] * (rows["accuracy"] - rows["confidence"]).abs()).sum())


def _summary(rows: pd.DataFrame) -> str:
    accuracy = (rows["share"] * rows["accuracy"].fillna(0)).sum()
    return f"accuracy {100 * accuracy:.1f}%, ECE {100 * error(rows):.1f}%, n {rows['n'].iloc[0]}"


def _traces(view: str, rows: pd.DataFrame, colour: str) -> list[tuple[dict[str, Any], int]]:
    """Band, line and bars of a view, each with the row that it stands in."""
    full = rows[rows["count"].gt(0)]
    x = [*(100 * full["confidence"])]
    group: Mapping[str, Any] = {"legendgroup": view, "name": f"{view}: {_summary(rows)}"}
    said = [f"{view}<br>{_sentence(row)}" for row in full.to_dict("records")]
    band = {
        "type": "scatter",
        "x": [*x, *x[::-1]],
        "y": [*(100 * full["accuracy_high"]), *(100 * full["accuracy_low"])[::-1]],
        "fill": "toself",
        "fillcolor": looks.faded(colour, 0.18),
        "line": {"width": 0},
        "mode": "lines",
        "hoverinfo": "skip",
        "showlegend": False,
        **group,
    }
    line = {
        "type": "scatter",
        "x": x,
        "y": [*(100 * full["accuracy"])],
        "mode": "lines+markers",
        "line": {"color": colour},
        "text": said,
        "hoverinfo": "text",
        **group,
    }
    bars = {
        "type": "bar",
        "x": [*(50 * (rows["low"] + rows["high"]))],
        "y": [*(100 * rows["share"])],
        "marker": {"color": colour},
        "showlegend": False,
        "hovertemplate": "%{y:.1f}% of the answers<extra></extra>",
        **group,
    }
    return [(band, 1), (line, 1), (bars, 2)]


def _sentence(row: Mapping[Any, Any]) -> str:
    low, high, *accuracy = (100 * row[name] for name in ("low", "high", "accuracy", "accuracy_low", "accuracy_high"))
    spread = "{:.1f}% [{:.1f}, {:.1f}]".format(*accuracy)
    return f"confidence ({low:.0f}, {high:.0f}]%: accuracy {spread}, {row['count']} answers"
