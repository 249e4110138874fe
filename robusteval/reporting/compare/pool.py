"""The records that are compared, as one: models with names of their own, numbers, and samples where a test asks."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple, Self

import numpy as np
import pandas as pd

from robusteval.core.errors import RecordError, require
from robusteval.results.comparable import ADVICE, Terms, require_comparable
from robusteval.results.schema import RECALIBRATION_COLUMNS
from robusteval.results.store import Store

By = Literal["variant", "checkpoint"]


class Row(NamedTuple):
    """A row of the table: one checkpoint, or the training seeds of a variant."""

    name: str
    models: tuple[str, ...]


@dataclass(frozen=True)
class Pool:
    """Reports side by side.

    Attributes:
        terms: how each was measured.
        stores: where their samples are.
        metrics: of all of them, with `report`, the place of the report; `model` is unique over reports.
        cells: likewise, with `subset` for the digest of the samples.
        seed: of their runs.
    """

    terms: tuple[Terms, ...]
    stores: tuple[Store, ...]
    metrics: pd.DataFrame
    cells: pd.DataFrame
    seed: int
    _kept: dict[tuple[str, bool], pd.DataFrame] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, folders: Sequence[Path]) -> Self:
        """Read what reports say; their samples are read when they are needed.

        Raises:
            RecordError: a report is missing, damaged, or of another format version.
            InputError: none is named.
        """
        require(len(folders) > 0, "report", "must name at least one folder, as in reports/quick", list(folders))
        folders = list({folder.resolve(): folder for folder in folders}.values())
        stores = tuple(map(Store, folders))
        runs = [Store.check(folder, ADVICE) for folder in folders]
        cells = [store.read_table("cells") for store in stores]
        metrics = [store.read_metrics() for store in stores]
        parts = zip(map(str, folders), runs, cells, metrics, strict=True)
        terms = tuple(Terms.of(name, run, listed, numbers) for name, run, listed, numbers in parts)
        names = _names([frame[["model", "weights"]].drop_duplicates() for frame in cells], folders)
        return cls(terms, stores, _joined(metrics, names), _joined(cells, names), int(runs[0]["seed"]))

    def require_comparable(self, views: Collection[str]) -> None:
        """Refuse reports whose numbers of these views may not stand side by side.

        Raises:
            RecordError: it names the key that differs.
        """
        require_comparable(self.terms, views)

    def rows(self, by: By | None = None) -> list[Row]:
        """Variants where some variant has several training seeds, else checkpoints, in the order of the record.

        Models of one variant and one training seed are not seeds of one thing: such a variant is one row per report,
        or where that does not part them, per checkpoint.
        """
        models = self.metrics.drop_duplicates("model")[["model", "variant", "train_seed", "report"]]
        single = [Row(str(model), (str(model),)) for model in models["model"]]
        several = models.groupby("variant")["train_seed"].nunique().gt(1).any()
        if (by or ("variant" if several else "checkpoint")) == "checkpoint":
            return single
        rows: dict[int, list[Row]] = {}
        for variant, part in models.groupby("variant", sort=False):
            rows[int(part.index[0])] = self._variant(str(variant), part)
        for row, (place, variant) in zip(single, models["variant"].items(), strict=True):
            if pd.isna(variant):
                rows[int(str(place))] = [row]
        taken = {row.name for row in single}
        listed = [row for place in sorted(rows) for row in rows[place]]
        clash = [row.name in taken and row.models != (row.name,) for row in listed]
        return [row._replace(name=f"variant {row.name}") if c else row for row, c in zip(listed, clash, strict=True)]

    def _variant(self, name: str, models: pd.DataFrame) -> list[Row]:
        if not models["train_seed"].duplicated().any():
            return [Row(name, tuple(models["model"]))]
        rows = []
        for report, part in models.groupby("report", sort=False):
            if part["train_seed"].duplicated().any():
                rows += [Row(str(model), (str(model),)) for model in part["model"]]
            else:
                folder = self.stores[int(str(report))].folder
                rows.append(Row(f"{name} ({folder})", tuple(part["model"])))
        return rows

    def require_one_scaling(self) -> None:
        """Refuse numbers after temperature scaling whose temperatures were fitted on different things.

        Raises:
            RecordError: some were fitted on halves of the samples and some on another split, or on different splits.
        """
        rows = self.metrics[self.metrics["kind"].eq("calibration")]
        fitted = dict(zip(rows["model"], rows["view"], strict=True))
        ways = list(dict.fromkeys(fitted.get(model, "halves of the samples") for model in self.metrics["model"]))
        if len(ways) > 1:
            raise RecordError(f"not comparable: temperatures were fitted on {ways[0]} and on {ways[1]}")

    def fitted_temperature(self, model: str) -> float | None:
        """A model's temperature that was fitted on another split; None where the halves of a view scale each other.

        Raises:
            RecordError: the report has a view to calibrate on and not what was fitted on it.
        """
        views = self.metrics[self.metrics["kind"].eq("calibration") & self.metrics["model"].eq(model)]["view"]
        if views.empty:
            return None
        cell, _, report = self._places[model, str(views.iloc[0])]
        maps = self.stores[report].read_typed("recalibration", RECALIBRATION_COLUMNS)
        own = maps[maps["cell"].eq(cell) & maps["recalibrator"].eq("temperature") & maps["half"].isna()]["value"]
        if own.empty:
            raise RecordError(f"{self.stores[report].folder}: {model} has no temperature; leave out what is after it")
        return float(own.iloc[0])

    @cached_property
    def _places(self) -> dict[tuple[str, str], tuple[str, int, int]]:
        """The cell, number of samples and report of each model and view."""
        columns = (self.cells[name] for name in ("model", "view", "cell", "n", "report"))
        return {(str(m), str(v)): (str(c), int(n), int(r)) for m, v, c, n, r in zip(*columns, strict=True)}

    def samples(self, model: str, view: str, logits: bool = False) -> pd.DataFrame:
        """The sample rows of a cell, checked to be of the samples that every model was measured on.

        Args:
            model: by its name here.
            view: of the record.
            logits: whether they are needed, where they were kept.

        Raises:
            RecordError: the file is missing, damaged, of other samples, or holds NaN.
        """
        key = (f"{model}, {view}", logits)
        if key not in self._kept:
            self._kept[key] = self._read(model, view, logits)
        return self._kept[key]

    def _read(self, model: str, view: str, logits: bool) -> pd.DataFrame:
        cell, n, report = self._places[model, view]
        store = self.stores[report]
        frame = store.read_columns(cell)
        frame = frame if logits or "logits" not in frame else frame.drop(columns="logits")
        where = f"{store.folder}, samples of {model}, {view}"
        first = self._first(view, frame)
        own = int(frame["label"].ge(0).sum()) if "label" in frame else len(frame)  # rows of other samples have -1
        if own != n or not np.array_equal(frame["sample"], first):
            raise RecordError(f"{where} are not those of the other models; delete them and run the same command again")
        numbers = frame.select_dtypes("number")
        broken = [name for name in numbers if name in _NEVER_NAN and numbers[name].isna().any()]
        if broken:
            raise RecordError(f"{where} hold NaN in {broken[0]}; delete them and run the same command again")
        return frame

    def _first(self, view: str, frame: pd.DataFrame) -> "pd.Series[int]":
        """The sample ids of the view, from whichever of its cells was read first."""
        kept = self._kept.setdefault((view, False), frame[["sample"]])
        return kept["sample"]


_NEVER_NAN = ("correct", "confidence", "nll", "brier", "margin", "gamma")


def _names(models: Sequence[pd.DataFrame], folders: Sequence[Path]) -> list[dict[str, str | None]]:
    """A name for each model of each report; None where an earlier report has the same weights under that name."""
    owners: dict[str, str] = {}
    named: list[dict[str, str | None]] = []
    for frame, folder in zip(models, folders, strict=True):
        names: dict[str, str | None] = {}
        for model, weights in zip(frame["model"].map(str), frame["weights"].map(str), strict=True):
            name = model if owners.get(model, weights) == weights else f"{model} ({folder})"
            names[model] = None if name in owners else name
            owners[name] = weights
        named.append(names)
    return named


def _joined(frames: Sequence[pd.DataFrame], names: Sequence[dict[str, str | None]]) -> pd.DataFrame:
    """The frames below each other with the models' new names; models that an earlier report has are left out."""
    parts = []
    for report, (frame, new) in enumerate(zip(frames, names, strict=True)):
        part = frame.assign(model=frame["model"].map(new), report=report)
        parts.append(part[part["model"].notna()])
    return pd.concat([part for part in parts if len(part)], ignore_index=True)
