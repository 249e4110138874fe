"""Scores over corruptions (Hendrycks and Dietterich 2019, arXiv:1903.12261), each with an interval over samples.

Every function maps frames to a frame. Views are averaged only with views of their kind: one set of corruptions, one
family of constants, one origin (TRUST R21, R23); where views of a score are missing, it has no value and says which.
The interval is the percentile bootstrap over samples, which are paired over views: a draw weighs a sample in all views.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from robusteval.core.errors import InputError, SpecError
from robusteval.core.spec import Spec
from robusteval.core.statistics import poisson_weights
from robusteval.core.types import Predictions
from robusteval.corruptions import CORRUPTIONS
from robusteval.metrics import estimate_mean
from robusteval.results.schema import PREDICTION_COLUMNS, predictions_of
from robusteval.results.store import Store

Floats = NDArray[np.float64]

TEST = ("noise", "blur", "weather", "digital")
"""The categories of the 15 test corruptions, whose mean at 5 severities is the score."""

ALEXNET: Mapping[str, float] = MappingProxyType(
    {
        "gaussian-noise": 0.886428,
        "shot-noise": 0.894468,
        "impulse-noise": 0.922640,
        "defocus-blur": 0.819880,
        "glass-blur": 0.826268,
        "motion-blur": 0.785948,
        "zoom-blur": 0.798360,
        "snow": 0.866816,
        "frost": 0.826572,
        "fog": 0.819324,
        "brightness": 0.564592,
        "contrast": 0.853204,
        "elastic-transform": 0.646056,
        "pixelate": 0.717840,
        "jpeg-compression": 0.606500,
    }
)
"""AlexNet's error on ImageNet-C, the mean over the severities (github.com/hendrycks/robustness)."""

ALEXNET_CLEAN = 0.435
"""AlexNet's error on ImageNet (arXiv:1903.12261, table 1)."""

Verdicts: TypeAlias = "pd.Series[float]"
"""Whether a model was right, by sample."""

DEFINITIONS: Mapping[str, str] = MappingProxyType(
    {
        "mean": "mean accuracy over the corruptions of the set and their severities, unnormalised",
        "category": "mean accuracy over the corruptions of a category and their severities",
        "corruption": "mean accuracy over the severities of a corruption",
        "severity": "mean accuracy over the corruptions of the set at a severity",
        "mCE": "mean over the 15 test corruptions of the model's summed error over the reference's",
        "relative mCE": "mCE of the errors beyond the clean error",
        "mean ece": "mean over the corruptions of the set and their severities of ECE: top label, 15 equal-width bins",
        "mean nll": "mean NLL in nats over the corruptions of the set and their severities",
        "mean brier": "mean Brier score, in [0, 2], over the corruptions of the set and their severities",
    }
)

COLUMNS = ("model", "origin", "set", "family", "score", "of", "value", "low", "high", "n", "missing", "definition")
CALIBRATION = ("ece", "nll", "brier")
"""What is averaged over corrupted views beside accuracy."""

_DRAWS, _CHUNK = 1000, 200


class Kind(NamedTuple):
    """What may be averaged: views of one origin, set and family.

    Attributes:
        origin: official or generated.
        stored: whether the images were read from disk.
        set: `test`, `extra`, `mnist-c`, `cifar10-c-bar`, or `other` for a corruption that is not known here.
        family: whose constants were asked for by name.
    """

    origin: str
    stored: bool
    set: str
    family: str | None

    @property
    def label(self) -> str:
        """The kind in a word or two: the 15 test corruptions are just `corrupted`."""
        words = ["corrupted" if self.set == "test" else self.set]
        words += [] if self.family is None else [f"family {self.family}"]
        words += ["official"] if self.origin == "official" else ["stored"] if self.stored else []
        return ", ".join(words)


class View(NamedTuple):
    """A corrupted view by its parts; its place is corruption and severity, `fog@3`, in the table of its kind."""

    kind: Kind
    place: str


def view_of(view: str, origin: object = None) -> View:
    """The parts of a view's name.

    >>> view_of("official:fog@3", "official")
    View(kind=Kind(origin='official', stored=True, set='test', family=None), place='fog@3')
    """
    text, _, severity = view.removeprefix("official:").rpartition("@")
    try:
        parsed = Spec.parse(text)
    except SpecError:
        parsed = Spec(text)
    family = dict(parsed.arguments).get("family")
    which = _set(parsed.name, family)
    # A set of its own has one family, which only some of its corruptions need to be told.
    own = None if which in ("mnist-c", "cifar10-c-bar") else family
    kind = Kind(str(origin or "generated"), view.startswith("official:"), which, own)
    return View(kind, f"{parsed.name}@{severity}")


def kinds(metrics: pd.DataFrame) -> dict[Kind, list[str]]:
    """The corrupted views of a record by their kind, in its order."""
    found: dict[Kind, list[str]] = {}
    rows = metrics[metrics["kind"].eq("corruption")].drop_duplicates("view")
    for view, origin in zip(rows["view"], rows["origin"], strict=True):
        found.setdefault(view_of(str(view), None if pd.isna(origin) else origin).kind, []).append(str(view))
    return found


def expected(kind: Kind) -> list[str]:
    """Every corruption of the kind's set at each of its severities."""
    if kind.set == "test":
        return [f"{name}@{severity}" for name in ALEXNET for severity in range(1, 6)]
    if kind.set == "mnist-c":
        return [f"{name}@1" for name, cls in CORRUPTIONS.classes.items() if "mnist-c" in cls.families]
    chosen = [CORRUPTIONS.parse(name) for name, cls in CORRUPTIONS.classes.items() if cls.category == kind.set]
    return [f"{each.name}@{severity}" for each in chosen for severity in range(1, each.severities + 1)]


def scores(metrics: pd.DataFrame, samples: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Mean accuracy over a set, its categories, its corruptions and its severities, one row each per model.

    Args:
        metrics: of a report.
        samples: of the report, with `model`, `view`, `sample` and `correct`.
        seed: of the resampling.

    Returns:
        A frame with `COLUMNS`; a score of which views are missing has no value.
    """
    rows: list[dict[str, Any]] = []
    for kind, model, table in _tables(metrics, samples):
        places = [str(place) for place in table.columns] if kind.set == "other" else expected(kind)
        parts = list(_parts(places))
        whole = [part for part in parts if not _missing(part.places, table)]
        values = [table[[*part.places]].to_numpy(np.float64).mean(axis=1) for part in whole]
        found = _bootstrap(values, table.index.to_numpy(), seed, lambda means: means)
        estimates = dict(zip(whole, found, strict=True))
        for part in parts:
            row = _row(kind, model, part.score, part.of, estimates.get(part), len(table))
            rows.append({**row, "missing": _missing(part.places, table) or None})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def mean_corruption_errors(
    metrics: pd.DataFrame, samples: pd.DataFrame, reference: pd.DataFrame | None = None, seed: int = 0
) -> pd.DataFrame:
    """The mCE and the relative mCE of every model on the 15 test corruptions.

    Args:
        metrics: of a report.
        samples: of the report, with the view `clean` for the relative one.
        reference: the samples of one model in another report of the same views and samples, by which errors are
            divided; by default AlexNet's published errors, which are of ImageNet-C alone (TRUST R22).
        seed: of the resampling.

    Returns:
        A frame with `COLUMNS`.

    Raises:
        InputError: the reference holds several models.
    """
    if reference is not None and reference["model"].nunique() != 1:
        raise InputError(f"reference={sorted(reference['model'].unique())}: must be the samples of one model")
    rows: list[dict[str, Any]] = []
    for kind, model, table in _tables(metrics, samples):
        if kind.set != "test":
            continue
        clean = _correct(samples[samples["model"].eq(model) & samples["view"].eq("clean")])
        divisor = None if reference is None else _reference(kind, metrics, reference)
        rows += _errors(kind, model, table, clean, divisor, seed)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def write(folder: Path, metrics: pd.DataFrame) -> pd.DataFrame | None:
    """Write `corruptions.csv` into a report: its scores over corruptions, where it has several corrupted views."""
    if metrics.loc[metrics["kind"].eq("corruption"), "view"].nunique() < 2:
        return None
    store = Store(folder)
    seed = Store.check(folder)["seed"]
    found = pd.concat([scores(metrics, samples_of(store), seed), calibration(metrics, store, seed)], ignore_index=True)
    store.write_csv("corruptions", found)
    return found


def calibration(metrics: pd.DataFrame, store: Store, seed: int = 0) -> pd.DataFrame:
    """Means of ECE, NLL and Brier over the views of a set, one row each per model; intervals as for ECE of one view.

    Args:
        metrics: of the report.
        store: the report.
        seed: of the resampling.

    Returns:
        A frame with `COLUMNS`; a mean of which views are missing has no value.
    """
    cells = store.read_table("cells")
    rows: list[dict[str, Any]] = []
    for (kind, views), model in product(kinds(metrics).items(), dict.fromkeys(metrics["model"])):
        mine = cells[cells["model"].eq(model) & cells["view"].isin(views) & cells["cell"].map(store.has)]
        if mine.empty:
            continue
        found = {view_of(str(row.view)).place: _classified(store, str(row.cell)) for row in mine.itertuples()}
        places = list(found) if kind.set == "other" else expected(kind)
        missing = ", ".join(place for place in places if place not in found)
        parts = [] if missing else _shared([found[place] for place in places])
        n = len(parts[0]) if parts else 0
        for name in CALIBRATION:
            row = _row(kind, str(model), f"mean {name}", "all", estimate_mean(name, parts, seed=seed) if n else None, n)
            rows.append({**row, "missing": missing or None})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _classified(store: Store, cell: str) -> pd.DataFrame:
    return store.read_columns(cell, ["sample", "label", *PREDICTION_COLUMNS])


def _shared(frames: Sequence[pd.DataFrame]) -> list[Predictions]:
    """The predictions of the samples that all frames have, in the order of the first."""
    common = set.intersection(*({*frame["sample"]} for frame in frames))
    order = [sample for sample in frames[0]["sample"] if sample in common]
    return [predictions_of(frame.set_index("sample").loc[order].reset_index()) for frame in frames]


def samples_of(store: Store) -> pd.DataFrame:
    """Model, view, sample and verdict of the clean and corrupted views of a report."""
    metrics, cells = store.read_metrics(), store.read_table("cells")
    wanted = set(metrics.loc[metrics["kind"].isin(["clean", "corruption"]), "view"])
    frames = []
    for cell, model, view in zip(cells["cell"], cells["model"], cells["view"], strict=True):
        if view in wanted and store.has(cell):
            frames.append(store.read_columns(cell, ["sample", "correct"]).assign(model=model, view=view))
    columns = ["sample", "correct", "model", "view"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


class _Part(NamedTuple):
    """A score and the places that it is a mean of."""

    score: str
    of: str
    places: tuple[str, ...]


def _parts(places: Sequence[str]) -> Iterator[_Part]:
    keys: dict[str, Callable[[str], str]] = {
        "mean": lambda place: "all",
        "category": lambda place: _category(_name(place)),
        "corruption": _name,
        "severity": lambda place: place.rpartition("@")[2],
    }
    for score, key in keys.items():
        for value in dict.fromkeys(map(key, places)):
            yield _Part(score, value, tuple(place for place in places if key(place) == value))


def _name(place: str) -> str:
    return place.rpartition("@")[0]


def _category(name: str) -> str:
    return CORRUPTIONS.classes[name].category if name in CORRUPTIONS.classes else "other"


def _set(name: str, family: object) -> str:
    if family == "mnist-c":
        return "mnist-c"
    category = _category(name)
    return "test" if name in ALEXNET else "other" if category in TEST else category


def _tables(metrics: pd.DataFrame, samples: pd.DataFrame) -> Iterator[tuple[Kind, str, pd.DataFrame]]:
    """For each kind and model a table of verdicts: a row per sample that all views have, a column per view."""
    for (kind, views), model in product(kinds(metrics).items(), dict.fromkeys(metrics["model"])):
        rows = samples[samples["model"].eq(model) & samples["view"].isin(views)]
        if len(rows):
            table = {view_of(str(view)).place: _correct(part) for view, part in rows.groupby("view", sort=False)}
            yield kind, str(model), pd.DataFrame(table).dropna()


def _correct(rows: pd.DataFrame) -> Verdicts:
    return rows.set_index("sample")["correct"].astype("float64")


def _missing(places: Sequence[str], table: pd.DataFrame) -> str:
    return ", ".join(place for place in places if place not in table.columns)


def _row(kind: Kind, model: str, score: str, of: str, estimate: tuple[float, ...] | None, n: int) -> dict[str, Any]:
    value, low, high = estimate or (np.nan,) * 3
    where = {"model": model, "origin": kind.origin, "set": kind.set, "family": kind.family}
    return {**where, "score": score, "of": of, "value": value, "low": low, "high": high, "n": n} | {
        "missing": None,
        "definition": DEFINITIONS[score],
    }


def _bootstrap(
    values: Sequence[Floats], samples: NDArray[np.int64], seed: int, statistic: Callable[[Floats], Floats]
) -> list[tuple[float, float, float]]:
    """Statistics of means over samples, [m, columns] to [m, k], with 95% intervals."""
    if not values:
        return []
    columns = np.stack(values, axis=1)
    weights = poisson_weights(samples, _DRAWS, seed)
    parts = []
    for start in range(0, len(weights), _CHUNK):
        rows = weights[start : start + _CHUNK].astype(np.float64)
        rows = rows[rows.sum(axis=1) > 0]
        parts.append(statistic(rows @ columns / rows.sum(axis=1, keepdims=True)))
    points = statistic(columns.mean(axis=0, keepdims=True))[0]
    drawn = np.concatenate(parts)
    # A ratio whose divisor is 0 in some draws is infinite there, and nothing lies between it and another.
    method: Literal["linear", "nearest"] = "linear" if np.isfinite(drawn).all() else "nearest"
    low, high = np.nanquantile(drawn, [0.025, 0.975], axis=0, method=method)
    return [(float(v), float(min(v, a)), float(max(v, b))) for v, a, b in zip(points, low, high, strict=True)]


def _reference(kind: Kind, metrics: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """Verdicts of the reference in the views of a kind, and clean."""
    columns: dict[str, Verdicts] = {
        view_of(view).place: _correct(reference[reference["view"].eq(view)]) for view in kinds(metrics)[kind]
    }
    table = {place: verdicts for place, verdicts in columns.items() if len(verdicts)}
    clean = _correct(reference[reference["view"].eq("clean")])
    return pd.DataFrame({**table, "clean": clean} if len(clean) else table).dropna()


def _errors(
    kind: Kind,
    model: str,
    table: pd.DataFrame,
    clean: Verdicts,
    divisor: pd.DataFrame | None,
    seed: int,
) -> list[dict[str, Any]]:
    """Both errors of a model; the columns that are resampled are its own errors, clean last, then the reference's."""
    places = expected(kind)
    names = list(dict.fromkeys(map(_name, places)))
    lacking = _missing(places, table)
    missing = {"mCE": [lacking] if lacking else []}
    if divisor is not None and (lacking := _missing(places, divisor)):
        missing["mCE"].append(f"of the reference: {lacking}")
    missing["relative mCE"] = [*missing["mCE"], *(["clean"] if not len(clean) else [])]
    if divisor is not None and "clean" not in divisor:
        missing["relative mCE"].append("of the reference: clean")
    rows = []
    for score, absent in missing.items():
        estimate, samples = None, table.index
        if not absent:
            relative = score != "mCE"
            samples = samples if not relative else samples.intersection(clean.index)
            samples = samples if divisor is None else samples.intersection(divisor.index)
            own = _averaged(table.loc[samples], names)
            own += [np.asarray(clean.loc[samples], np.float64)] if relative else []
            other = [] if divisor is None else _averaged(divisor.loc[samples], names)
            other += [np.asarray(divisor.loc[samples, "clean"], np.float64)] if relative and divisor is not None else []
            (estimate,) = _bootstrap(own + other, samples.to_numpy(), seed, _ratio(names, relative, divisor is None))
        row = _row(kind, model, score, "all", estimate, len(samples))
        rows.append({**row, "missing": "; ".join(absent) or None})
    return rows


def _averaged(table: pd.DataFrame, names: Sequence[str]) -> list[Floats]:
    """Per-sample accuracy over the severities of each corruption."""
    by_name = {name: [place for place in table.columns if _name(str(place)) == name] for name in names}
    return [table[places].to_numpy(np.float64).mean(axis=1) for places in by_name.values()]


def _ratio(names: Sequence[str], relative: bool, published: bool) -> Callable[[Floats], Floats]:
    """From mean accuracies, [m, columns], to the mean ratio of errors, [m, 1]."""
    count = len(names) + relative

    def ratio(accuracy: Floats) -> Floats:
        own, other = 1 - accuracy[:, :count], 1 - accuracy[:, count:]
        if published:
            other = np.array([[*(ALEXNET[name] for name in names), *([ALEXNET_CLEAN] if relative else [])]])
        if relative:
            own, other = own[:, :-1] - own[:, -1:], other[:, :-1] - other[:, -1:]
        with np.errstate(divide="ignore", invalid="ignore"):
            found: Floats = (own / other).mean(axis=1, keepdims=True)
        return found

    return ratio
