"""What a plot may ask of a report folder; nothing is read before it is asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from robusteval.core.errors import RecordError
from robusteval.core.statistics import poisson_weights
from robusteval.results.store import ID_LENGTH, Store

_KEPT = 4


class Examples(NamedTuple):
    """The few images that a cell keeps.

    Attributes:
        clean: [m, c, h, w] float64 in [0, 1].
        changed: the same images corrupted or attacked.
        label: [m].
        sample: ids [m].
    """

    clean: NDArray[np.float64]
    changed: NDArray[np.float64]
    label: NDArray[np.int64]
    sample: NDArray[np.int64]

    def first(self, number: int) -> "Examples":
        """The first few of them."""
        return Examples(self.clean[:number], self.changed[:number], self.label[:number], self.sample[:number])


@dataclass(frozen=True)
class Record:
    """A report folder."""

    folder: Path

    @cached_property
    def run(self) -> dict[str, Any]:
        """Provenance: suite, seed, versions, digests.

        Raises:
            RecordError: the folder is no report, or one of another format version.
        """
        return Store.check(self.folder)

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """One row per number, with the columns of `robusteval.results.schema.METRIC_COLUMNS`.

        Raises:
            RecordError: as for `run`, or the table is missing or damaged.
        """
        Store.check(self.folder)
        return Store(self.folder).read_metrics()

    @cached_property
    def views(self) -> pd.DataFrame:
        """One row per finished cell, in the order of the record: `model`, `view` and what the record says of both."""
        columns = ["model", "variant", "train_seed", "data", "cell", "view", "kind", "component", "severity", "origin"]
        finished = self.metrics[self.metrics["error"].isna()]
        return finished.drop_duplicates(["model", "view"])[columns].reset_index(drop=True)

    @property
    def models(self) -> list[str]:
        """The models in the order of the record."""
        return list(dict.fromkeys(self.metrics["model"]))

    @cached_property
    def variants(self) -> Mapping[str, str]:
        """The variant of each model; a model of unknown training is a variant of its own."""
        rows = self.metrics.drop_duplicates("model")
        pairs = zip(rows["model"], rows["variant"], strict=True)
        return {str(model): str(model if pd.isna(variant) else variant) for model, variant in pairs}

    def cell(self, model: str, view: str) -> str | None:
        """The key of a finished cell."""
        return self._keys.get((model, view))

    def samples(self, cell: str, columns: Sequence[str]) -> pd.DataFrame:
        """Some columns of the rows of a cell."""
        return Store(self.folder).read_columns(cell, list(columns))

    def examples(self, cell: str) -> Examples | None:
        """The images of a cell, or nothing where it keeps none.

        Raises:
            RecordError: their file is damaged.
        """
        path = self.folder / "examples" / f"{cell[:ID_LENGTH]}.safetensors"
        try:
            found = load_file(path)
            clean, changed = (_unit(found[name]) for name in ("clean", "changed"))
            return Examples(clean, changed, found["label"], found["sample"]) if len(clean) else None
        except FileNotFoundError:
            return None
        except (OSError, KeyError, SafetensorError):
            raise RecordError(f"{path} is damaged: delete it and run the same command again") from None

    def grids(self, cell: str) -> dict[str, list[pd.DataFrame]]:
        """The landscapes of a cell by name, each shard by shard."""
        return Store(self.folder).read_grids(cell)

    def class_name(self, label: int) -> str:
        """What the data set calls a class; its number where the record does not say, or has several data sets."""
        return self._classes[label] if label < len(self._classes) else f"class {label}"

    def resampling(self, samples: NDArray[np.int64], draws: int) -> NDArray[np.uint8]:
        """The weights [draws, n] that the record's own intervals come from; the last few are kept."""
        key = (samples.tobytes(), draws)
        if key not in self._weights:
            if len(self._weights) >= _KEPT:
                self._weights.clear()
            self._weights[key] = poisson_weights(samples, draws, int(self.run["seed"]))
        return self._weights[key]

    @cached_property
    def _weights(self) -> dict[tuple[bytes, int], NDArray[np.uint8]]:
        return {}

    @cached_property
    def _keys(self) -> dict[tuple[str, str], str]:
        views = self.views
        return dict(zip(zip(views["model"], views["view"], strict=True), views["cell"], strict=True))

    @cached_property
    def _classes(self) -> tuple[str, ...]:
        named = list(dict(self.run.get("classes", {})).values())
        return tuple(named[0]) if len(named) == 1 else ()


def _unit(images: NDArray[Any]) -> NDArray[np.float64]:
    return images.astype(np.float64) / (255 if images.dtype == np.uint8 else 1)
