"""How linear models are near their samples and between them (Qin et al. 2019, arXiv:1907.02610; Zhang et al. 2018)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import pandas as pd

from robusteval.reporting.figures import COLOURS
from robusteval.reporting.plots import looks
from robusteval.reporting.plots.plot import Chart
from robusteval.reporting.plots.record import Record

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Quantity(NamedTuple):
    """What a panel shows: its label with the unit, and a factor."""

    label: str
    factor: float = 1.0


QUANTITIES: Mapping[tuple[str, str], Quantity] = {
    ("linearity", "gamma"): Quantity("local linearity error gamma (nats)"),
    ("gradients", "gamma_random"): Quantity("gamma at random points (nats)"),
    ("gradients", "gradient_norm"): Quantity("input gradient, L2 (nats per pixel unit)"),
    ("gradients", "alignment"): Quantity("gradient alignment (cosine)"),
    ("gradients", "curvature"): Quantity("curvature (nats per squared pixel unit)"),
    ("lipschitz", "lipschitz"): Quantity("local Lipschitz estimate (per pixel unit)"),
    ("between", "probability_deviation"): Quantity("deviation of the probabilities (%)", 100),
    ("between", "logit_deviation"): Quantity("deviation of the logits (L2)"),
    ("between", "neither"): Quantity("predicted as neither class (%)", 100),
    ("between", "gradient_norm"): Quantity("gradient on the segment, L2 (nats per pixel unit)"),
}
"""The panels, by the kind of view and the metric."""

COLUMNS = ("model", "variant", "quantity", "pairs", "value", "low", "high", "n")

PAIRS: Mapping[str, str] = {"across": COLOURS[1], "within": COLOURS[0]}
"""The kinds of pairs of samples, in their colours."""


@dataclass(frozen=True)
class Linearity(Chart):
    """A point with its interval for each model; between samples of two classes (across) and of one class (within)."""

    name: ClassVar[str] = "linearity"
    title: ClassVar[str] = "Linearity"
    about: ClassVar[str] = (
        "Means over samples with 95% bootstrap intervals; smaller is more linear, but for alignment, where larger is. "
        "Between samples: on segments to a sample of another class (across) or of the same class (within)."
    )
    order: ClassVar[int] = 50

    def frames(self, record: Record) -> dict[str, pd.DataFrame]:
        """By view: a row per model, `quantity` and kind of `pairs`, which is empty near samples.

        `quantity` is the label of a panel, and `value`, `low` and `high` are in its unit.
        """
        metrics = record.metrics[record.metrics["error"].isna()]
        metrics = metrics.assign(variant=metrics["model"].map(record.variants))
        found = {}
        for (kind, view), rows in metrics.groupby(["kind", "view"], sort=False):
            own = [(metric, quantity) for (of, metric), quantity in QUANTITIES.items() if of == kind]
            parts = [_rows(rows, metric, pairs, quantity) for metric, quantity in own for pairs in ("", *PAIRS)]
            if any(map(len, parts)):
                found[str(view)] = pd.concat([part for part in parts if len(part)], ignore_index=True)[[*COLUMNS]]
        return found

    def static(self, name: str, frame: pd.DataFrame) -> "Figure":
        """A panel for each quantity, the models beneath each other."""
        from matplotlib.figure import Figure

        panels = dict(list(frame.groupby("quantity", sort=False)))
        models = list(dict.fromkeys(frame["model"]))
        size = 1.6 + 0.07 * max(map(len, models)) + 2.5 * len(panels), 1.5 + 0.2 * len(models)
        figure = Figure(figsize=(max(size[0], 4.8), size[1]), layout="constrained")
        for number, (label, rows) in enumerate(panels.items()):
            panel = figure.add_subplot(1, len(panels), number + 1)
            _points(panel, rows, models)
            panel.set_yticks(range(len(models)), models if number == 0 else [""] * len(models), fontsize=8)
            panel.set_ylim(len(models) - 0.5, -0.5)
            panel.set_xlabel(str(label), fontsize=8)
        figure.axes[0].set_ylabel("model")
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=8)
        figure.suptitle(_titled(name))
        return figure

    def interactive(self, name: str, frame: pd.DataFrame) -> "go.Figure":
        """A panel for each quantity beneath the other, the models beneath each other in each."""
        from plotly.subplots import make_subplots

        panels = dict(list(frame.groupby("quantity", sort=False)))
        models = list(dict.fromkeys(frame["model"]))
        each = 80 + 20 * len(models)
        layout = looks.page(
            _titled(name), 110 + each * len(panels), entries=len(PAIRS), scattermode="group", scattergap=0.5
        )
        gap = 70 / (each * len(panels))
        figure = make_subplots(len(panels), 1, figure=layout, vertical_spacing=gap if len(panels) > 1 else 0)
        shown = set[str]()
        for number, (label, rows) in enumerate(panels.items()):
            for pairs, part in rows.groupby("pairs", sort=False):
                figure.add_trace(_trace(str(pairs), part, str(pairs) not in shown), row=number + 1, col=1)
                shown.add(str(pairs))
            figure.update_xaxes(looks.axis(str(label)), row=number + 1, col=1)
        figure.update_yaxes(looks.axis("", type="category", categoryarray=models[::-1], categoryorder="array"))
        return figure


def _rows(rows: pd.DataFrame, metric: str, pairs: str, quantity: Quantity) -> pd.DataFrame:
    """The rows of a metric for a kind of pairs, or for samples, in the unit of its panel."""
    own = rows[rows["metric"].eq(f"{metric}_{pairs}" if pairs else metric)]
    scaled = {name: quantity.factor * own[name] for name in ("value", "low", "high")}
    return own.assign(quantity=quantity.label, pairs=pairs, **scaled)


def _titled(view: str) -> str:
    place = "between" if view.startswith("between") else "near"
    return f"Linearity {place} samples" if view == "between" else f"Linearity {place} samples: {view}"


def _points(panel: "Axes", rows: pd.DataFrame, models: list[str]) -> None:
    kinds = {str(pairs): part for pairs, part in rows.groupby("pairs", sort=False)}
    for number, (pairs, part) in enumerate(kinds.items()):
        places = part["model"].map(models.index) + 0.25 * (number - (len(kinds) - 1) / 2)
        spread = [part["value"] - part["low"], part["high"] - part["value"]]
        dots: Any = {"fmt": "o", "markersize": 3, "linewidth": 1.2, "color": _colour(pairs), "label": _legend(pairs)}
        panel.errorbar(part["value"], places, xerr=spread, **dots)
    panel.grid(visible=True, color="0.9")


def _colour(pairs: str) -> str:
    return PAIRS.get(pairs, COLOURS[0])


def _legend(pairs: str) -> str:
    return f"{pairs} classes" if pairs in PAIRS else "mean over samples, 95% interval"


def _sentence(row: Mapping[Any, Any]) -> str:
    return f"{row['model']}: {row['value']:.4g} [{row['low']:.4g}, {row['high']:.4g}], n {row['n']}"


def _trace(pairs: str, rows: pd.DataFrame, named: bool) -> dict[str, Any]:
    said = [_sentence(row) for row in rows.to_dict("records")]
    return {
        "type": "scatter",
        "x": [*rows["value"]],
        "y": [*rows["model"]],
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [*(rows["high"] - rows["value"])],
            "arrayminus": [*(rows["value"] - rows["low"])],
        },
        "mode": "markers",
        "orientation": "h",
        "offsetgroup": pairs,
        "marker": {"color": _colour(pairs)},
        "text": said,
        "hoverinfo": "text",
        "name": _legend(pairs),
        "legendgroup": pairs,
        "showlegend": named,
    }
