"""One side of a comparison: what a report folder, or a baseline file, holds of each model under each view."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from robusteval.core.errors import RecordError
from robusteval.core.types import Estimate, Predictions
from robusteval.metrics import METRICS
from robusteval.results.comparable import TERM_COLUMNS, Terms
from robusteval.results.schema import PREDICTION_COLUMNS, predictions_of
from robusteval.results.store import Store

Floats = NDArray[np.float64]

THIN = (
    "accuracy", "aurc", "coverage", "e-aurc", "ece", "ece-debiased", "ece-mass", "ks", "mce", "nll", "overconfidence",
    "smooth-ece", "underconfidence",
)  # fmt: skip
"""Metrics that `correct`, `confidence` and `nll` are enough for: a baseline file keeps no more of each sample."""

AT = " at "
"""Between the view and the radius where an attack has several: each radius is an entry, all are measured together."""

TERMS = ("kind", "data", "origin", "gradients", "versions")
"""What an entry's terms say beside its own fields."""


@dataclass(frozen=True)
class Rows:
    """The samples of one view.

    Attributes:
        samples: ids [n].
        correct: whether the prediction is the label [n]; None for a view that classifies nothing.
        predictions: for any metric; None where only `correct` is known.
        columns: what a probe added, which are metrics by their mean, each [n].
        thin: whether the predictions hold `correct`, `confidence` and `nll` alone.
    """

    samples: NDArray[np.int64]
    correct: NDArray[np.bool_] | None = None
    predictions: Predictions | None = None
    columns: Mapping[str, Floats] = field(default_factory=dict)
    thin: bool = False


@dataclass(frozen=True)
class Entry:
    """One model under one view, on one side.

    Attributes:
        model: its name.
        view: the spec; an attack at several radii has an entry for each, with the radius after the spec.
        n: samples.
        data: digest of the samples.
        estimates: the numbers of the record, by metric.
        read: reads the samples as far as some metrics need them.
        grade: of an attack (TRUST R14).
        flags: reasons not to believe the numbers, between commas.
        failure: why there are none; empty where there are.
        terms: how it was measured: the columns of `robusteval.results.comparable.TERM_COLUMNS` that are known.
    """

    model: str
    view: str
    n: int
    data: str
    estimates: Mapping[str, Estimate]
    read: Callable[[Sequence[str]], Rows]
    grade: str | None = None
    flags: str = ""
    failure: str = ""
    terms: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Side:
    """Everything that is known of one side.

    Attributes:
        name: the path, for readers.
        seed: of the run.
        suite: its name.
        entries: model by model, in the order of the views.
        halved: whether `confidence` and `nll` are kept as float16, as in a baseline file.
    """

    name: str
    seed: int
    suite: str
    entries: tuple[Entry, ...]
    halved: bool = False

    @property
    def models(self) -> list[str]:
        """Every model, in order."""
        return list(dict.fromkeys(entry.model for entry in self.entries))

    def views(self, model: str) -> dict[str, Entry]:
        """The entries of a model, by view."""
        return {entry.view: entry for entry in self.entries if entry.model == model}

    def terms(self, model: str) -> Terms:
        """How the views of a model were measured."""
        rows = [
            {**entry.terms, "model": "", "view": entry.view, "n": entry.n, "subset": entry.data, "seed": self.seed}
            for entry in self.entries
            if entry.model == model
        ]
        return Terms(self.name, self.suite, pd.DataFrame(rows, columns=[*TERM_COLUMNS]))


def read_report(folder: Path) -> Side:
    """A report folder as a side; its samples are read when they are asked for.

    Raises:
        RecordError: it is missing, damaged, or of another format version.
    """
    run, store = Store.check(folder, "measure again with --out FOLDER"), Store(folder)
    metrics, cells = store.read_metrics(), store.read_table("cells")
    terms = Terms.of(str(folder), run, cells, metrics)
    known = terms.cells.set_index(["model", "view"])[[*TERMS]].astype(object).where(lambda frame: frame.notna(), None)
    numbers = dict(iter(metrics.groupby(["model", "view"], sort=False)))
    entries = list[Entry]()
    for _, cell in cells.iterrows():
        place = cell["model"], cell["view"]
        said = dict(zip(TERMS, known.loc[place], strict=True))
        entries += _entries(store, cell, numbers.get(place, pd.DataFrame()), said)
    return Side(str(folder), int(run["seed"]), terms.suite, tuple(entries))


def thin_predictions(
    samples: NDArray[np.int64], correct: NDArray[np.bool_], confidence: Floats, nll: Floats
) -> Predictions:
    """Predictions for the metrics of `THIN`: what others need is nan, and every label is 0."""
    unknown = np.full(len(samples), np.nan)
    classes = np.zeros(len(samples), np.int64), np.where(correct, 0, 1)
    return Predictions(samples, *classes, confidence, nll, brier=unknown, margin=unknown)


def halved(rows: Rows) -> Rows:
    """The rows as a baseline file would give them back."""
    if rows.predictions is None or rows.correct is None:
        return Rows(rows.samples, rows.correct)
    kept = rows.predictions.confidence, rows.predictions.nll
    rounded = (half(values).astype(np.float64) for values in kept)
    return Rows(rows.samples, rows.correct, thin_predictions(rows.samples, rows.correct, *rounded), thin=True)


def half(values: Floats) -> NDArray[np.float16]:
    """As float16; what is larger than its largest number becomes that."""
    most = float(np.finfo(np.float16).max)
    return np.clip(values, -most, most).astype(np.float16)


def _entries(store: Store, cell: "pd.Series[Any]", rows: pd.DataFrame, terms: Mapping[str, Any]) -> list[Entry]:
    """The entries of a cell: one, and one for each radius below the largest."""
    view, name = str(cell["view"]), str(cell["cell"])
    base = Entry(str(cell["model"]), view, int(cell["n"]), str(cell["data"]), {}, _unread(view), terms=terms)
    errors = [str(error) for error in rows["error"].dropna()] if len(rows) else ["it is not in the table of metrics"]
    if errors:
        return [replace(base, failure=errors[0])]
    grade, flags = (rows[column].iloc[0] for column in ("grade", "flags"))
    base = replace(base, grade=None if pd.isna(grade) else str(grade), flags="" if pd.isna(flags) else str(flags))
    curve = rows[rows["metric"] == "accuracy"].iloc[:-1]
    whole = _estimates(rows.drop(curve.index))
    below = [
        replace(
            base,
            view=f"{view}{AT}{radius}",
            estimates=_estimates(part),
            read=_beyond(store, name, float(part["eps"].iloc[0])),
        )
        for radius, part in curve.groupby("eps_text", sort=False)
    ]
    return [replace(base, estimates=whole, read=_reader(store, name, whole)), *below]


def _estimates(rows: pd.DataFrame) -> dict[str, Estimate]:
    numbers = zip(rows["metric"], rows["value"], rows["low"], rows["high"], strict=True)
    return {str(metric): Estimate(float(value), float(low), float(high)) for metric, value, low, high in numbers}


def _reader(store: Store, cell: str, known: Mapping[str, Estimate]) -> Callable[[Sequence[str]], Rows]:
    def read(metrics: Sequence[str]) -> Rows:
        own = [name for name in metrics if name not in METRICS.classes]
        columns = ["sample", *(["label", *PREDICTION_COLUMNS] if "accuracy" in known else [])]
        if own or any(METRICS.classes[name].needs_logits for name in metrics):
            frame = store.read(cell)[0]
        else:
            frame = store.read_columns(cell, columns)
        samples = frame["sample"].to_numpy(np.int64)
        extra = {name: frame[name].to_numpy(np.float64) for name in own if name in frame}
        if "accuracy" not in known:
            return Rows(samples, columns=extra)
        predictions = predictions_of(frame)
        return Rows(samples, predictions.correct, predictions, extra)

    return read


def _beyond(store: Store, cell: str, radius: float) -> Callable[[Sequence[str]], Rows]:
    def read(metrics: Sequence[str]) -> Rows:
        frame = store.read_columns(cell, ["sample", "distance"])
        return Rows(frame["sample"].to_numpy(np.int64), frame["distance"].to_numpy(np.float64) > radius)

    return read


def _unread(view: str) -> Callable[[Sequence[str]], Rows]:
    def read(metrics: Sequence[str]) -> Rows:
        raise RecordError(f"{view} failed, and has no samples")

    return read
