"""Accuracy by corruption and severity (Hendrycks and Dietterich 2019, arXiv:1903.12261)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from robusteval.reporting import corruptions
from robusteval.reporting.plots import looks
from robusteval.reporting.plots.choice import accuracies
from robusteval.reporting.plots.plot import Chart
from robusteval.reporting.plots.record import Record

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ALL = "all models"
"""The figure of the means over severities, a row for each model."""

_DARK = 55.0


@dataclass(frozen=True)
class CorruptionHeatmap(Chart):
    """One figure of all models by corruption, then one by corruption and severity for each model and variant.

    A variant of several models is shown as their mean, in front of them. Figures by severity are drawn where some
    corruption was measured at several of them, or there is one model alone. Sets of corruptions, and official and
    generated ones, are apart. A mean of which a view is missing is not shown.
    """

    name: ClassVar[str] = "corruption-heatmap"
    title: ClassVar[str] = "Accuracy under corruptions"
    about: ClassVar[str] = (
        "Accuracy in %, by corruption and severity; of all models, the mean over the severities that were measured. "
        "Darker is worse; the scale is the same everywhere."
    )
    order: ClassVar[int] = 20

    def frames(self, record: Record) -> dict[str, pd.DataFrame]:
        """By model or variant, and by kind of corruption where there are several.

        A frame has a row per number: `row` and `column` of the map, `across`, which is what columns are, `accuracy` in
        [0, 1], `low`, `high` and `n` where it is of one view, and `of`, the numbers that it is a mean of.
        """
        accuracy, kinds = accuracies(record, "corruption"), corruptions.kinds(record.metrics)
        found: dict[str, pd.DataFrame] = {}
        for kind, views in kinds.items():
            places = pd.DataFrame([_place(view) for view in views], columns=["view", "corruption", "severity"])
            rows = places.merge(accuracy.drop(columns="severity"), on="view")
            rows = rows.assign(variant=rows["model"].map(record.variants))
            end = "" if len(kinds) == 1 else f", {kind.label}"
            found.update({f"{name}{end}": frame for name, frame in _frames(rows, record.models).items()})
        return found

    def static(self, name: str, frame: pd.DataFrame) -> "Figure":
        """A grid of coloured numbers."""
        from matplotlib.figure import Figure

        table = _table(frame)
        rows, columns = list(map(str, table.index)), list(map(str, table.columns))
        size = max(2.8 + 0.07 * max(map(len, rows)) + 0.55 * len(columns), 4.8), 1.6 + 0.27 * len(rows)
        figure = Figure(figsize=size, layout="constrained")
        panel, values = figure.add_subplot(), table.to_numpy(np.float64)
        mesh = panel.imshow(values, cmap="viridis", vmin=0, vmax=100, aspect="auto")
        _number(panel, values)
        turn: Any = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if max(map(len, columns)) > 2 else {}
        panel.set_xticks(range(len(columns)), columns, fontsize=8, **turn)
        panel.set_yticks(range(len(rows)), rows, fontsize=8)
        panel.set(title=f"Accuracy under corruptions: {name}", xlabel=_across(frame), ylabel=_down(frame))
        figure.colorbar(mesh, ax=panel, label="accuracy (%)")
        return figure

    def interactive(self, name: str, frame: pd.DataFrame) -> "go.Figure":
        """A grid of coloured numbers with their intervals at hand."""
        table = _table(frame)
        rows, columns = list(map(str, table.index)), list(map(str, table.columns))
        said = frame.assign(said=[_said(*row) for row in frame[["row", "column", *_NUMBERS]].to_numpy()])
        figure = looks.page(f"Accuracy under corruptions: {name}", 150 + 5 * max(map(len, columns)) + 26 * len(rows))
        figure.add_heatmap(
            z=table.to_numpy(np.float64).round(2),
            x=columns,
            y=rows,
            zmin=0,
            zmax=100,
            colorscale="Viridis",
            texttemplate="%{z:.1f}",
            text=_spread(said, "said").fillna("not measured").to_numpy(),
            hovertemplate="%{text}<extra></extra>",
            hoverongaps=False,
            colorbar={"title": {"text": "accuracy (%)", "side": "right"}},
        )
        figure.update_xaxes(looks.axis(_across(frame), type="category", showgrid=False))
        figure.update_yaxes(looks.axis(_down(frame), type="category", showgrid=False, autorange="reversed"))
        return figure


_NUMBERS = ["accuracy", "low", "high", "n", "of"]


def _place(view: str) -> tuple[str, str, str]:
    corruption, _, severity = corruptions.view_of(view).place.rpartition("@")
    return view, corruption, severity


def _frames(rows: pd.DataFrame, models: list[str]) -> dict[str, pd.DataFrame]:
    """The frames of one kind of corruption, the models in their order."""
    known = [model for model in models if model in set(rows["model"])]
    found = {}
    severities = rows.groupby("corruption")["severity"].transform("nunique")
    if len(known) > 1:
        single = rows["corruption"].where(severities.gt(1), rows["corruption"] + "@" + rows["severity"])
        found[ALL] = _means(rows.assign(corruption=single), "model", "corruption", severities.to_numpy(), known)
    if known and (len(known) == 1 or severities.max() > 1):
        for variant in dict.fromkeys(rows.set_index("model").loc[known, "variant"]):
            own = rows[rows["variant"].eq(variant)]
            members = [model for model in known if model in set(own["model"])]
            who = own.drop_duplicates("model")
            # Several data sets, or two models of one training seed, are no repetitions.
            if len(members) > 1 and who["data"].nunique() == 1 and not who["train_seed"].duplicated().any():
                found[f"the mean of {len(members)} {variant}"] = _means(
                    own, "corruption", "severity", np.full(len(own), len(members))
                )
            for model in members:
                part = own[own["model"].eq(model)]
                found[model] = _means(part, "corruption", "severity", np.ones(len(part), int))
    return {name: frame for name, frame in found.items() if len(frame)}


def _means(
    rows: pd.DataFrame, down: str, across: str, wanted: NDArray[np.int64], order: list[str] | None = None
) -> pd.DataFrame:
    """Means by place of the map, of those places that have as many numbers as are wanted [rows]."""
    groups = rows.assign(wanted=wanted).groupby([down, across], sort=False)
    frame = groups.agg(
        accuracy=("value", "mean"),
        low=("low", "first"),
        high=("high", "first"),
        n=("n", "max"),
        of=("value", "size"),
        wanted=("wanted", "first"),
    ).reset_index(names=["row", "column"])
    frame.loc[frame["of"].gt(1), ["low", "high"]] = np.nan
    frame = frame[frame["of"].eq(frame["wanted"])].drop(columns="wanted").assign(across=across)
    if order is not None:
        frame = frame.sort_values("row", key=lambda names: names.map(order.index), kind="stable")
    return frame.reset_index(drop=True)


def _table(frame: pd.DataFrame) -> pd.DataFrame:
    """The map in %, rows and columns in the order of the frame; severities rise."""
    return 100 * _spread(frame, "accuracy").astype(np.float64)


def _spread(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    table = frame.pivot(index="row", columns="column", values=column).reindex(index=list(dict.fromkeys(frame["row"])))
    columns = list(dict.fromkeys(frame["column"]))
    return table[sorted(columns) if frame["across"].iloc[0] == "severity" else columns]


def _number(panel: "Axes", values: NDArray[np.float64]) -> None:
    """The numbers in their places, in a colour that shows on theirs."""
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            colour = "white" if value < _DARK else "black"
            panel.text(column, row, f"{value:.1f}", ha="center", va="center", color=colour, fontsize=7)


def _across(frame: pd.DataFrame) -> str:
    return "severity (1 to 5)" if frame["across"].iloc[0] == "severity" else "corruption"


def _down(frame: pd.DataFrame) -> str:
    return "corruption" if frame["across"].iloc[0] == "severity" else "model"


def _said(row: str, column: str, accuracy: float, low: float, high: float, n: int, of: int) -> str:
    spread = f"mean of {of}" if pd.isna(low) else f"[{100 * low:.1f}, {100 * high:.1f}]"
    return f"{row}, {column}: {100 * accuracy:.1f}% {spread}, n {n}"
