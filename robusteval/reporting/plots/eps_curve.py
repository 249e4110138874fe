"""Accuracy over the radius of an attack (Carlini et al. 2019, arXiv:1902.06705, section 4.3)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import pandas as pd

from robusteval.core.spec import Spec
from robusteval.core.statistics import wilson
from robusteval.reporting.plots import looks
from robusteval.reporting.plots.choice import accuracies
from robusteval.reporting.plots.plot import Chart
from robusteval.reporting.plots.record import Record
from robusteval.reporting.tables import UNRELIABLE

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from matplotlib.figure import Figure

COLUMNS = ("model", "variant", "eps", "eps_text", "norm", "accuracy", "low", "high", "n", "grade", "flags")
_NORMS: Mapping[str, str] = {"linf": "L-infinity", "l2": "L2", "l1": "L1"}
_FAINT, _CLEAR, _FEW = 0.06, 0.18, 6


@dataclass(frozen=True)
class EpsCurve(Chart):
    """A figure for each attack with a curve for each model, which begins at its clean accuracy."""

    name: ClassVar[str] = "eps-curve"
    title: ClassVar[str] = "Accuracy over the radius"
    about: ClassVar[str] = (
        "Points are measured, lines join them, bands are 95% intervals over samples (Wilson). At eps 0: clean accuracy "
        "on the samples that were attacked. Accuracy under an attack is an upper bound of robust accuracy."
    )
    order: ClassVar[int] = 10

    def frames(self, record: Record) -> dict[str, pd.DataFrame]:
        """By the attack without its radius."""
        rows = accuracies(record, "attack")
        names = rows["view"].map(_without_eps)
        return {str(name): _curves(record, part) for name, part in rows.groupby(names, sort=False)}

    def static(self, name: str, frame: pd.DataFrame) -> "Figure":
        """Lines with bands."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7.2, 4.2), layout="constrained")
        panel, (label, factor) = figure.add_subplot(), _axis(frame)
        strength = _CLEAR if frame["model"].nunique() <= _FEW else _FAINT
        for each in looks.series(frame):
            x, rows = factor * each.rows["eps"], 100 * each.rows[["accuracy", "low", "high"]]
            panel.fill_between(x, rows["low"], rows["high"], color=each.look.colour, alpha=strength, linewidth=0)
            shape = f"o{each.look.line}"
            panel.plot(
                x, rows["accuracy"], shape, color=each.look.colour, markersize=3, label=each.label or "_nolegend_"
            )
        flagged = frame[frame["flags"].notna()]
        if len(flagged):
            x, y = factor * flagged["eps"], 100 * flagged["accuracy"]
            panel.scatter(x, y, 40, "black", marker="x", zorder=3, label=UNRELIABLE)
        panel.set(title=_titled(name, frame), xlabel=label, ylabel="accuracy (%)", ylim=(0, 100))
        panel.set_xlim(left=0)
        panel.grid(visible=True, color="0.9")
        looks.legend(panel)
        return figure

    def interactive(self, name: str, frame: pd.DataFrame) -> "go.Figure":
        """Lines with bands, told apart by the legend, with numbers at hand."""
        label, factor = _axis(frame)
        figure = looks.page(_titled(name, frame), entries=frame["variant"].nunique())
        strength = _CLEAR if frame["model"].nunique() <= _FEW else _FAINT
        for each in looks.series(frame):
            x = factor * each.rows["eps"]
            figure.add_scatter(**_band(each, x, strength))
            figure.add_scatter(**_line(each, x))
        figure.update_xaxes(looks.axis(label, rangemode="tozero"))
        figure.update_yaxes(looks.axis("accuracy (%)", range=[0, 101]))
        return figure


def _curves(record: Record, rows: pd.DataFrame) -> pd.DataFrame:
    """The points of an attack, model by model, from the smallest radius up."""
    found = rows.rename(columns={"value": "accuracy"}).assign(variant=rows["model"].map(record.variants))
    found = found.sort_values("eps", kind="stable").drop_duplicates(["model", "eps"])
    parts = []
    for model in dict.fromkeys(rows["model"]):
        own = found[found["model"].eq(model)]
        clean = _clean(record, str(model), list(dict.fromkeys(own["view"])))
        first: dict[Any, Any] = own.iloc[0].to_dict()
        start = first | clean | {"eps": 0.0, "eps_text": "0", "flags": None}
        parts.append(pd.concat([pd.DataFrame([start]), own])[[*COLUMNS]] if clean else own[[*COLUMNS]])
    return pd.concat(parts, ignore_index=True)


def _clean(record: Record, model: str, views: list[str]) -> dict[str, Any]:
    """Clean accuracy on the samples of some attacked views."""
    cell = record.cell(model, "clean")
    if cell is None:
        return {}
    attacked = {
        sample
        for view in views
        if (found := record.cell(model, view)) is not None
        for sample in record.samples(found, ["sample"])["sample"]
    }
    clean = record.samples(cell, ["sample", "correct"])
    correct = clean.loc[clean["sample"].isin(attacked), "correct"]
    if not len(correct):
        return {}
    estimate = wilson(int(correct.sum()), len(correct))
    return {"accuracy": estimate.value, "low": estimate.low, "high": estimate.high, "n": len(correct)}


def _without_eps(view: str) -> str:
    parsed = Spec.parse(view)
    return str(replace(parsed, arguments=tuple(pair for pair in parsed.arguments if pair[0] != "eps")))


def _axis(frame: pd.DataFrame) -> tuple[str, float]:
    """The label of the radius, and what it is multiplied by: 255 where radii were written in 255ths."""
    norm = _NORMS.get(str(frame["norm"].iloc[0]), str(frame["norm"].iloc[0]))
    whole = frame.loc[frame["eps"].gt(0), "eps_text"].str.endswith("/255").all()
    return (f"eps (1/255, {norm})", 255.0) if whole else (f"eps (pixel units of [0, 1], {norm})", 1.0)


def _titled(name: str, frame: pd.DataFrame) -> str:
    grades = [grade for grade in dict.fromkeys(frame["grade"].dropna()) if grade != "C"]
    return ", ".join([f"Accuracy under {name}", *(g if g == "quick" else f"grade {g}" for g in grades)])


def _band(each: looks.Series, x: "pd.Series[float]", strength: float) -> dict[str, Any]:
    low, high = 100 * each.rows["low"], 100 * each.rows["high"]
    return {
        "x": [*x, *x[::-1]],
        "y": [*high, *low[::-1]],
        "fill": "toself",
        "fillcolor": each.look.faded(strength),
        "line": {"width": 0},
        "mode": "lines",
        "hoverinfo": "skip",
        "legendgroup": each.variant,
        "showlegend": False,
    }


def _line(each: looks.Series, x: "pd.Series[float]") -> dict[str, Any]:
    said = [
        f"{each.model}<br>eps {row['eps_text']}: {100 * row['accuracy']:.1f}% "
        f"[{100 * row['low']:.1f}, {100 * row['high']:.1f}], n {row['n']}"
        + ("" if pd.isna(row["flags"]) else f"<br>! {UNRELIABLE} ({row['flags']})")
        for row in each.rows.to_dict("records")
    ]
    return {
        "x": [*x],
        "y": [*(100 * each.rows["accuracy"])],
        "mode": "lines+markers",
        "marker": {"symbol": ["circle" if pd.isna(flags) else "x" for flags in each.rows["flags"]], "size": 6},
        "line": {"color": each.look.colour, "dash": each.look.dash},
        "text": said,
        "hoverinfo": "text",
        "name": each.label or each.model,
        "legendgroup": each.variant,
        "showlegend": each.label is not None,
    }
