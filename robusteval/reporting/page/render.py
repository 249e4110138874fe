"""One self-contained page of a report: no network, no file beside it."""

from functools import cache
from importlib.resources import files as resources
from pathlib import Path

import jinja2
import pandas as pd
from markupsafe import Markup

from robusteval.reporting import corruptions, tables
from robusteval.reporting.page import comparison, heads, provenance
from robusteval.reporting.page.cards import cards, trust
from robusteval.reporting.page.drawings import sections
from robusteval.reporting.page.table import Table
from robusteval.reporting.plots import Record
from robusteval.results import files
from robusteval.results.store import Store

NAME = "report.html"

MOST = 7_800_000
"""Bytes of a page; figures that would make it larger are left out, and named."""

_FIXED = 200_000


def render(record: Record) -> str:
    """The page; equal records give equal text.

    Raises:
        RecordError: the folder is no report, or something in it is damaged.
    """
    run, metrics, store = record.run, record.metrics, Store(record.folder)
    seed, samples = int(run["seed"]), corruptions.samples_of(store)
    found = comparison.numbers(metrics, comparison.corruption_means(metrics, samples, seed))
    shown = _comparison(found)
    scores = _corruptions(metrics, samples, seed)
    models = Table.of("checkpoints", provenance.models(run, metrics))
    cells = Table.of("cells", provenance.cells(metrics, store.read_table("cells")))
    others = _others(metrics)
    plotly = _plotly()
    taken = (
        len(plotly) + _FIXED + sum(table.size for table in (*shown, scores, others, models, cells) if table is not None)
    )
    return (
        _environment()
        .get_template("page.html")
        .render(
            title=record.folder.resolve().name,
            subtitle=_subtitle(metrics),
            cards=cards(found),
            trust=trust(metrics),
            comparison=shown,
            notes=[note for note in tables.notes(metrics) if note != tables.HALVES],
            corruptions=scores,
            sections=sections(record, max(0, MOST - taken)),
            facts=provenance.facts(run, _timings(store)),
            models=models,
            cells=cells,
            others=others,
            style=_resource("style.css"),
            script=_resource("page.js"),
            plotly=plotly,
        )
    )


def write(folder: Path) -> Path:
    """Write `report.html` into a report folder.

    Raises:
        RecordError: the folder is no report, something in it is damaged, or the page cannot be written.
    """
    text = render(Record(folder))
    files.write_text(folder / NAME, text)
    return folder / NAME


def _comparison(found: pd.DataFrame) -> list[Table]:
    """A row per variant where one has several seeds, and a row per model."""
    if found.empty:
        return []
    averaged = comparison.by_variant(found)
    several = bool((averaged["seeds"] > 1).any())
    return [*([heads.of_variants(averaged)] if several else []), heads.of_models(found)]


def _corruptions(metrics: pd.DataFrame, samples: pd.DataFrame, seed: int) -> Table | None:
    """Scores over corruptions, where there are several corrupted views and a score has all of its own."""
    if metrics.loc[metrics["kind"].eq("corruption"), "view"].nunique() < 2:
        return None
    scores = corruptions.scores(metrics, samples, seed)
    scores = scores[scores["value"].notna()].dropna(axis="columns", how="all")
    return Table.of("corruption scores", scores.reset_index(drop=True)) if len(scores) else None


def _others(metrics: pd.DataFrame) -> Table | None:
    """Every number of the probes that neither attack nor corrupt, where there are any."""
    shown = ~metrics["kind"].isin(["clean", "attack", "corruption", "calibration"]) & metrics["metric"].notna()
    rows = metrics.loc[shown, ["model", "view", "metric", "value", "low", "high", "n"]]
    return Table.of("probes", rows.reset_index(drop=True)) if len(rows) else None


def _timings(store: Store) -> pd.DataFrame | None:
    return store.read_table("timings") if (store.folder / "timings.parquet").exists() else None


def _subtitle(metrics: pd.DataFrame) -> str:
    models, views = metrics["model"].nunique(), metrics["view"].nunique()
    data = ", ".join(dict.fromkeys(metrics["data"].dropna()))
    return f"{models} {'model' if models == 1 else 'models'}, {views} {'view' if views == 1 else 'views'}, data {data}"


@cache
def _environment() -> jinja2.Environment:
    """Autoescape is on: names of models and views come from files."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("robusteval.reporting.page"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )


def _resource(name: str) -> Markup:
    """A text of this package's own, put into the page as it is."""
    return Markup((resources("robusteval.reporting.page") / "templates" / name).read_text(encoding="utf-8"))


def _plotly() -> Markup:
    from plotly.offline import get_plotlyjs

    return Markup(get_plotlyjs())
