"""Where a report comes from: settings, versions, digests, and what each cell cost."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

_APART = ("models", "weights", "format", "suite")
_METRICS = ("accuracy", "ece", "nll")


def facts(run: Mapping[str, Any], timings: pd.DataFrame | None = None) -> list[tuple[str, str]]:
    """What `run.json` says, one line each, and how long it took on what.

    >>> facts({"seed": 0, "format": 1, "versions": {"python": "3.11", "torch": "2"}})
    [('seed', '0'), ('versions', 'python 3.11, torch 2'), ('report format', '1')]
    """
    suite = run.get("suite")
    lines = list(_suite(suite)) if isinstance(suite, Mapping) else []
    lines += [(key.replace("_", " "), _text(value)) for key, value in run.items() if key not in _APART and value != {}]
    lines += [("report format", str(run.get("format", "-")))]
    if timings is not None and len(timings):
        machines = timings[["device", "cores", "threads"]].drop_duplicates().itertuples(index=False)
        places = "; ".join(f"{device}, {cores} cores, {threads} per worker" for device, cores, threads in machines)
        lines += [("processor time of all cells", f"{timings['seconds'].sum():.0f} s"), ("hardware", places)]
    return lines


def models(run: Mapping[str, Any], metrics: pd.DataFrame) -> pd.DataFrame:
    """The checkpoints: model, variant, training seed, data, file and the sha256 of its weights."""
    rows = metrics.drop_duplicates("model")[["model", "variant", "train_seed", "data"]].reset_index(drop=True)
    files, weights = run.get("models", {}), run.get("weights", {})
    return rows.assign(
        file=[files.get(model) for model in rows["model"]], weights=[weights.get(model) for model in rows["model"]]
    ).rename(columns={"train_seed": "seed", "weights": "sha256 of the weights"})


def cells(metrics: pd.DataFrame, listed: pd.DataFrame) -> pd.DataFrame:
    """Every view of every model: main numbers, grade, flags, passes, digest of its key, error."""
    common = ["model", "view", "n", "grade", "flags", "forwards", "backwards", "cell", "error"]
    rows = metrics.drop_duplicates(["model", "view"])[common]
    # Of a curve the largest radius, which is the last.
    values = metrics[metrics["metric"].isin(_METRICS)].pivot_table(
        index=["model", "view"], columns="metric", values="value", aggfunc="last", sort=False
    )
    joined = rows.join(values, on=["model", "view"])
    notes = listed.drop_duplicates("cell").set_index("cell").reindex(columns=["notes", "by"])
    joined = joined.join(notes, on="cell").rename(columns={"by": "computed by"})
    order = ["model", "view", *(name for name in _METRICS if name in joined), *common[2:], "notes", "computed by"]
    found = joined[order].replace("", None)
    optional = [name for name in ("grade", "flags", "error", "notes", "computed by") if not found[name].notna().any()]
    return found.drop(columns=optional).reset_index(drop=True)


def _suite(suite: Mapping[str, Any]) -> list[tuple[str, str]]:
    views = [str(spec) for part in suite.get("views", ()) for spec in part.get("specs", ())]
    return [
        ("suite", ": ".join(str(suite[key]) for key in ("name", "description") if suite.get(key))),
        ("views", _listed(views)),
    ]


def _listed(names: list[str], most: int = 30) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(inside)}" for key, inside in value.items())
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return "as the suite says" if value is None else str(value)
