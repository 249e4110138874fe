"""Small reports with the files of real ones, made without a model."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from robusteval.core.statistics import poisson_weights
from robusteval.core.types import Predictions
from robusteval.metrics import METRICS, estimate
from robusteval.results import files
from robusteval.results.schema import FORMAT, metric_frame, prediction_frame

PGD = "pgd(eps=8/255, steps=10)"
CURVE = "apgd(eps=(1/255, 2/255))"
Models = Mapping[str, tuple[str | None, int | None, float]]
Make = Callable[..., Path]

THREE: Models = {
    f"{name}-seed{seed}": (name, seed, skill) for name, skill in (("erm", 1.0), ("new", 2.5)) for seed in range(3)
}


def facets(view: str) -> dict[str, Any]:
    """The columns of `metrics` that name a view."""
    if view == "clean":
        return {"kind": "clean", "component": "clean"}
    if view == "linearity":
        return {"kind": "linearity", "component": "linearity", "norm": "linf"}
    if "@" in view:
        name, _, severity = view.removeprefix("official:").rpartition("@")
        origin = "official" if view.startswith("official:") else "generated"
        return {"kind": "corruption", "component": name, "severity": int(severity), "origin": origin}
    common = {"kind": "attack", "component": view.partition("(")[0], "norm": "linf", "grade": "quick"}
    return {**common, "eps": 2 / 255 if view == CURVE else 8 / 255, "eps_text": "2/255" if view == CURVE else "8/255"}


def sampled(model: str, view: str, skill: float, n: int) -> pd.DataFrame:
    rng = np.random.default_rng(list(f"{model} {view}".encode()))
    labels = np.arange(n) % 4
    if view == "linearity":
        return pd.DataFrame({"sample": np.arange(n), "label": labels, "gamma": rng.exponential(3 / (skill + 0.1), n)})
    common = np.random.default_rng(list(view.encode())).normal(size=(n, 4))  # what all models find hard
    logits = (rng.normal(size=(n, 4)) + 2 * common + skill * np.eye(4)[labels]).astype(np.float32)
    frame = prediction_frame(Predictions.from_logits(logits, labels.astype(np.int64)))
    if view == CURVE:
        frame["distance"] = np.where(frame["correct"], np.inf, np.where(frame["confidence"] < 0.8, 1 / 255, 2 / 255))
    return frame


@cache
def weights(n: int) -> NDArray[np.uint8]:
    return poisson_weights(np.arange(n), 50)


def numbers(frame: pd.DataFrame, common: dict[str, Any]) -> list[dict[str, Any]]:
    n = len(frame)
    if "gamma" in frame:
        value = float(frame["gamma"].mean())
        return [{**common, "metric": "gamma", "value": value, "low": value - 1, "high": value + 1, "n": n}]
    predictions = Predictions.from_logits(np.stack(list(frame["logits"])), frame["label"].to_numpy())
    rows = [
        {**common, "metric": name, **estimate(METRICS.parse(name), predictions, weights=weights(n))._asdict(), "n": n}
        for name in ("accuracy", "ece", "nll")
    ]
    if "distance" in frame:
        share = float((frame["distance"] > 1 / 255).mean())
        smaller = {
            "eps": 1 / 255,
            "eps_text": "1/255",
            "metric": "accuracy",
            "value": share,
            "low": 0,
            "high": 1,
            "n": n,
        }
        rows.insert(0, {**common, **smaller})
    return rows


def make(
    folder: Path,
    models: Models = THREE,
    views: Sequence[str] = ("clean", PGD, "fog@3", "contrast@3", "linearity"),
    n: int = 120,
    data: str = "digits",
    subset: str = "f" * 64,
    flags: Mapping[str, str] = {},
    errors: Mapping[str, str] = {},
    salt: str = "",
    **run: Any,
) -> Path:
    """Write a report; `flags` and `errors` are by model, of the attacked view; `salt` gives other weights."""
    rows, cells = list[dict[str, Any]](), list[dict[str, Any]]()
    for model, (variant, seed, skill) in models.items():
        for view in views:
            cell = hashlib.sha256(repr((model, view, salt)).encode()).hexdigest()[:16]
            common = {"model": model, "variant": variant, "train_seed": seed, "data": data, "cell": cell, "view": view}
            common |= facets(view)
            cells.append({"cell": cell, "model": model, "view": view, "n": n, "digest": cell * 4, "data": subset})
            cells[-1]["weights"] = f"{model}{salt}"
            if common["kind"] == "attack" and model in errors:
                rows.append({**common, "error": errors[model]})
                continue
            frame = sampled(model + salt, view, skill, n)
            files.write_frame(folder / "samples" / f"{cell}.parquet", frame, {"forwards": 0, "backwards": 0, "by": []})
            if common["kind"] == "attack" and model in flags:
                common |= {"flags": flags[model], "grade": "C"}
            rows += numbers(frame, common)
    files.write_frame(folder / "metrics.parquet", metric_frame(rows))
    files.write_frame(folder / "cells.parquet", pd.DataFrame(cells))
    facts = {"format": FORMAT, "seed": 0, "numerics": {"device": "cpu"}, "suite": {"name": "tiny"}, **run}
    files.write_text(folder / "run.json", json.dumps(facts))
    return folder


@pytest.fixture(scope="session")
def make_report() -> Make:
    return make


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two variants of three seeds, which differ much."""
    return make(tmp_path_factory.mktemp("small") / "report")
