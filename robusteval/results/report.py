"""A finished report as DataFrames."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import pandas as pd

from robusteval.results.schema import HALF_COLUMNS, RECALIBRATION_COLUMNS
from robusteval.results.store import Store

_TABLES = {"recalibration": RECALIBRATION_COLUMNS, "halves": HALF_COLUMNS}

_NULLABLE = {"prediction": "Int64", "correct": "boolean"}
"""Types that stay what they are beside the rows of a probe that classifies nothing."""


@dataclass(frozen=True)
class Report:
    """What a run measured.

    Attributes:
        run: provenance: suite, seed, versions, digests.
        metrics: one row per number; the columns are those of `robusteval.results.schema.METRIC_COLUMNS`.
        cells: cell, model, view, n and digests.
        samples: one row per sample and cell, with `model` and `view` in front.
        recalibration: one row per number of a fitted map; the columns are `RECALIBRATION_COLUMNS` of the same module.
        halves: the half of each sample, where maps were fitted across halves.
    """

    run: dict[str, Any]
    metrics: pd.DataFrame
    cells: pd.DataFrame
    samples: pd.DataFrame
    recalibration: pd.DataFrame
    halves: pd.DataFrame

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read a report folder.

        Raises:
            RecordError: it is missing, damaged, or of another format version.
        """
        run, store = Store.check(folder), Store(folder)
        cells = store.read_table("cells")
        more = [store.read_typed(*table) for table in _TABLES.items()]
        return cls(run, store.read_metrics(), cells, _samples(store, cells), *more)

    @cached_property
    def failures(self) -> pd.DataFrame:
        """The rows of cells that failed, with their errors."""
        return self.metrics[self.metrics["error"].notna()]


def _samples(store: Store, cells: pd.DataFrame) -> pd.DataFrame:
    frames = []
    for row in cells.itertuples():
        if store.has(str(row.cell)):
            frame = store.read(str(row.cell))[0]
            frame = frame.astype({name: kind for name, kind in _NULLABLE.items() if name in frame})
            frame.insert(0, "view", str(row.view))
            frame.insert(0, "model", str(row.model))
            frames.append(frame)
    return (
        pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["model", "view", "sample", "label"])
    )
