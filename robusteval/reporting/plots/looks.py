"""How models look in every plot: a colour and a dash for each variant, one legend entry for all its seeds."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from robusteval.reporting.figures import COLOURS

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from matplotlib.axes import Axes

DASHES = {"solid": "-", "dash": "--", "dot": ":", "dashdot": "-."}
"""The words of plotly and of matplotlib; with the colours they tell 36 variants apart."""

GREY = "#888888"
_FEW, _IN_A_COLUMN, _IN_A_ROW = 4, 18, 3


class Look(NamedTuple):
    """A colour and a dash, as plotly calls it."""

    colour: str
    dash: str

    @property
    def line(self) -> str:
        """The dash as matplotlib writes it."""
        return DASHES[self.dash]

    def faded(self, alpha: float) -> str:
        """The colour as CSS, partly transparent."""
        return faded(self.colour, alpha)


class Series(NamedTuple):
    """The rows of one model.

    Attributes:
        model: its name.
        variant: which it shares its look and its legend entry with.
        label: the legend entry, for the first model of a variant alone.
        look: of the variant.
        rows: of the frame.
    """

    model: str
    variant: str
    label: str | None
    look: Look
    rows: pd.DataFrame


def looks(variants: Iterable[str]) -> dict[str, Look]:
    """A look for each variant, in their order."""
    dashes = list(DASHES)
    return {
        name: Look(COLOURS[number % len(COLOURS)], dashes[number // len(COLOURS) % len(dashes)])
        for number, name in enumerate(dict.fromkeys(variants))
    }


def series(frame: pd.DataFrame) -> Iterator[Series]:
    """The models of a frame with the columns `model` and `variant`, in its order."""
    known, named = looks(frame["variant"]), dict[str, str]()
    for variant, rows in frame.groupby("variant", sort=False):
        models = list(dict.fromkeys(rows["model"]))
        named[str(variant)] = str(models[0]) if len(models) == 1 else f"{variant} ({len(models)} models)"
    for model, rows in frame.groupby("model", sort=False):
        variant = str(rows["variant"].iloc[0])
        yield Series(str(model), variant, named.pop(variant, None), known[variant], rows)


def faded(colour: str, alpha: float) -> str:
    """A colour `#rrggbb` as CSS, partly transparent.

    >>> faded("#332288", 0.2)
    'rgba(51, 34, 136, 0.2)'
    """
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {alpha})"


def legend(panel: "Axes", title: str | None = None) -> None:
    """A legend inside a panel, or beside it where it is long."""
    entries = len(panel.get_legend_handles_labels()[0])
    beside: dict[str, Any] = {
        "loc": "upper left",
        "bbox_to_anchor": (1.01, 1),
        "ncols": 1 + (entries - 1) // _IN_A_COLUMN,
    }
    panel.legend(frameon=False, fontsize=8, handlelength=2.8, title=title, **(beside if entries > _FEW else {}))


def page(title: str, height: int = 400, entries: int = 0, **layout: Any) -> "go.Figure":
    """An empty figure of a page: transparent, the legend beneath, text in the page's own colour.

    Args:
        title: of the figure.
        height: in pixels, without the legend.
        entries: of the legend.
        layout: whatever else plotly's layout is to have.
    """
    import plotly.graph_objects as go

    clear = "rgba(0, 0, 0, 0)"
    below = {"orientation": "h", "yref": "container", "yanchor": "bottom", "y": 0.01, "xanchor": "left", "x": 0}
    return go.Figure(
        layout={
            "template": "none",
            "title": {"text": title, "font": {"size": 15}, "x": 0.01, "xanchor": "left"},
            "paper_bgcolor": clear,
            "plot_bgcolor": clear,
            "height": height + 22 * -(-entries // _IN_A_ROW),
            "margin": {"l": 50, "r": 20, "t": 50, "b": 50},
            "legend": below,
            "hovermode": "closest",
            **layout,
        }
    )


def axis(title: str, **more: Any) -> dict[str, Any]:
    """An axis of a page's figure with room for its text, and a faint grid that shows on light and dark."""
    lines = {"gridcolor": faded(GREY, 0.25), "zerolinecolor": faded(GREY, 0.4)}
    return {"title": {"text": title, "standoff": 10}, "automargin": True, **lines, **more}
