"""The columns of the record: one row per sample in `samples/`, one row per number in `metrics`."""

from typing import Any

import numpy as np
import pandas as pd

from robusteval.core.types import Predictions

FORMAT = 1

PREDICTION_COLUMNS = ("prediction", "correct", "confidence", "nll", "brier", "margin")
"""What every classified sample has beside `sample` and `label`; `logits` follows where kept."""

METRIC_COLUMNS: dict[str, str] = {
    "model": "str",
    "variant": "str",
    "train_seed": "Int64",
    "data": "str",
    "cell": "str",
    "view": "str",
    "kind": "str",
    "component": "str",
    "severity": "Int64",
    "origin": "str",
    "eps": "float64",
    "eps_text": "str",
    "norm": "str",
    "metric": "str",
    "value": "float64",
    "low": "float64",
    "high": "float64",
    "n": "Int64",
    "grade": "str",
    "flags": "str",
    "forwards": "Int64",
    "backwards": "Int64",
    "error": "str",
}

RECALIBRATION_COLUMNS: dict[str, str] = {
    "cell": "str",
    "recalibrator": "str",
    "half": "Int64",
    "n": "Int64",
    "parameter": "str",
    "value": "float64",
}
"""The table `recalibration`, a row per fitted number. `half` is the half of the cell's samples that the map scales, `n`
the number of samples it was fitted on: those of the other half. Without a half the map was fitted on all samples of the
cell, a view of kind `calibration`, and scales the model's other views."""

HALF_COLUMNS: dict[str, str] = {"sample": "int64", "half": "int8"}
"""The table `halves`: which half each sample id belongs to, in every view of every model."""

MOST_CLASSES = 100
"""Above this many classes logits are kept only where asked."""


def prediction_frame(predictions: Predictions, keep_logits: bool = False) -> pd.DataFrame:
    """One row per classified sample."""
    frame = pd.DataFrame(
        {
            "sample": predictions.samples,
            "label": predictions.labels,
            "prediction": predictions.predicted,
            "correct": predictions.correct,
            "confidence": predictions.confidence,
            "nll": predictions.nll,
            "brier": predictions.brier,
            "margin": predictions.margin,
        }
    )
    logits = predictions.logits
    if logits is not None and (keep_logits or logits.shape[1] <= MOST_CLASSES):
        frame["logits"] = pd.Series(list(logits.astype(np.float32)), dtype=object)
    return frame


def predictions_of(frame: pd.DataFrame) -> Predictions:
    """The predictions that a sample frame records."""
    logits = np.stack([np.asarray(row, dtype=np.float32) for row in frame["logits"]]) if "logits" in frame else None
    names = {"sample": "samples", "label": "labels", "prediction": "predicted"}
    columns = ("sample", "label", *(name for name in PREDICTION_COLUMNS if name != "correct"))
    return Predictions(**{names.get(name, name): frame[name].to_numpy() for name in columns}, logits=logits)


def is_classified(frame: pd.DataFrame) -> bool:
    """Whether the frame holds predictions, and not only a probe's own columns."""
    return set(PREDICTION_COLUMNS) <= set(frame.columns)


def own_columns(frame: pd.DataFrame) -> list[str]:
    """The numeric columns that a probe or an attack added, each of which is a metric."""
    known = {"sample", "label", "logits", "distance", *PREDICTION_COLUMNS}
    return [name for name in frame.columns if name not in known and pd.api.types.is_numeric_dtype(frame[name])]


def metric_frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows of `metrics` with every column in its place and type; what a row leaves out is missing."""
    return pd.DataFrame(rows, columns=list(METRIC_COLUMNS)).astype(METRIC_COLUMNS)
