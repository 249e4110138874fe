"""The comparison of a report in numbers, frame to frame: a row for each model, or for each variant, and column.

Clean accuracy comes before robust accuracy (TRUST R30). An interval says what other samples would have given, a spread
what other training seeds did; they stand in columns of their own and are never mixed (TRUST R28).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd

from robusteval.core.spec import Spec
from robusteval.core.statistics import percentile_interval, poisson_weights, resample
from robusteval.metrics.functional.scoring import weighted_mean
from robusteval.reporting import corruptions, tables

NUMBERS = (
    *("model", "variant", "train_seed", "data", "group", "column", "metric"),
    *("value", "low", "high", "n", "grade", "flags", "error"),
)
"""The columns of `numbers`."""

CLEAN, ATTACK, CORRUPTION, CALIBRATION, LINEARITY = "clean", "attack", "corruption", "calibration", "linearity"

AFTER = "ece after "
_MOST_CORRUPTIONS = 6
_GRADES = ("C", "quick", "B", "A")
_MEANS = ("model", "column", "value", "low", "high", "n")


def numbers(metrics: pd.DataFrame, means: pd.DataFrame) -> pd.DataFrame:
    """What the comparison of models shows, one row per model and column, in the order of the columns.

    Args:
        metrics: of a report.
        means: of its corrupted views, as `corruption_means` gives them.

    Returns:
        A frame with `NUMBERS`; a failed number has its error and no value.
    """
    calibrated = ("ece", *(f"{AFTER}{name}" for name in tables.recalibrators(metrics)), "nll")
    parts = [
        _labelled(_chosen(metrics, "clean", "accuracy"), CLEAN, "clean", "accuracy"),
        *_attacks(metrics),
        *_corruptions(metrics, means),
        *(_labelled(_chosen(metrics, "clean", name), CALIBRATION, name, name) for name in calibrated),
        *_linearity(metrics),
    ]
    found = [part.reindex(columns=list(NUMBERS)) for part in parts if part["value"].notna().any() or _failed(part)]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=list(NUMBERS))


def by_variant(found: pd.DataFrame) -> pd.DataFrame:
    """Means over the training seeds of each variant.

    Models without a variant, and variants with two models of one seed, which are no repetitions, stay as they are.

    Args:
        found: as `numbers` gives it.

    Returns:
        One row per variant and column, in their order: `row`, `seeds`, `group`, `column`, `metric`, `value` (mean over
        seeds), `spread` (their standard deviation, none where there is one seed), `grade` (the lowest), `flags`
        (all), `error` (the first).
    """
    named = found.assign(row=_rows(found))
    rows = [
        {**dict(zip(("row", "group", "column", "metric"), key, strict=True)), **_merged(part)}
        for key, part in named.groupby(["row", "group", "column", "metric"], sort=False)
    ]
    columns = ["row", "seeds", "group", "column", "metric", "value", "spread", "grade", "flags", "error"]
    return pd.DataFrame(rows, columns=columns)


def wide(found: pd.DataFrame, key: str, parts: Sequence[str]) -> pd.DataFrame:
    """One row per model or variant, for a spreadsheet.

    Args:
        found: as `numbers` or `by_variant` gives it.
        key: the column that names the rows.
        parts: the columns that stand beside each value, as in `low` and `high`; those without content are left out.
    """
    rows = pd.DataFrame({key: list(dict.fromkeys(found[key]))})
    for (group, column, metric), part in found.groupby(["group", "column", "metric"], sort=False):
        name = f"{metric}, {column}" if group in (CLEAN, ATTACK, CORRUPTION, LINEARITY) else str(column)
        inside = part.set_index(key)
        for each in ("value", *parts):
            if each == "value" or inside[each].notna().any():
                rows[name if each == "value" else f"{name}, {each}"] = rows[key].map(inside[each])
    return rows


def corruption_means(metrics: pd.DataFrame, samples: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Mean accuracy of each model over the corrupted views of a kind, where it has them all.

    The mean is over the samples that all of them have; its interval is the percentile bootstrap over these, which are
    paired over views.

    Args:
        metrics: of a report.
        samples: of the report, with `model`, `view`, `sample` and `correct`.
        seed: of the resampling.

    Returns:
        A frame with `model`, `column`, `value`, `low`, `high`, `n`.
    """
    rows: list[dict[str, Any]] = []
    weights: dict[bytes, Any] = {}
    for kind, views in _several(metrics).items():
        inside = samples[samples["view"].isin(views)]
        for model, part in inside.groupby("model", sort=False):
            table = part.pivot(index="sample", columns="view", values="correct").astype("float64")
            whole, table = table.shape[1] == len(views), table.dropna()
            if not whole or table.empty:
                continue
            ids, right = table.index.to_numpy("int64"), table.to_numpy().mean(axis=1)
            drawn = weights.setdefault(ids.tobytes(), None)
            if drawn is None:
                drawn = weights[ids.tobytes()] = poisson_weights(ids, 1000, seed)
            means = resample(partial(weighted_mean, right), drawn)
            estimate = percentile_interval(float(right.mean()), means)
            column = f"mean of {len(views)} {kind.label}"
            rows.append({"model": model, "column": column, **estimate._asdict(), "n": len(right)})
    return pd.DataFrame(rows, columns=list(_MEANS))


def worst(grades: "pd.Series[Any]") -> str | None:
    """The lowest of some grades; none where there is none."""
    known = [grade for grade in _GRADES if grades.eq(grade).any()]
    return known[0] if known else None


def _several(metrics: pd.DataFrame) -> dict[corruptions.Kind, list[str]]:
    return {kind: views for kind, views in corruptions.kinds(metrics).items() if len(views) > 1}


def _chosen(metrics: pd.DataFrame, kind: str, metric: str) -> pd.DataFrame:
    """The rows of a metric in the views of a kind, and the failures among those views."""
    return metrics[metrics["kind"].eq(kind) & (metrics["metric"].eq(metric) | metrics["error"].notna())]


def _labelled(rows: pd.DataFrame, group: str, column: str, metric: str) -> pd.DataFrame:
    return rows.assign(group=group, column=column, metric=metric)


def _failed(rows: pd.DataFrame) -> bool:
    """Whether a column of failures alone is shown: that of the number which each view is measured for."""
    return bool(rows["error"].notna().any()) and bool(rows["metric"].isin(["accuracy", "gamma"]).any())


def _attacks(metrics: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Robust accuracy of each attack, radius by radius, and the median distance where it was measured."""
    for view, rows in _chosen(metrics, "attack", "accuracy").groupby("view", sort=False):
        failed = rows["error"].notna()
        radii = rows.loc[~failed].sort_values("eps", kind="stable")["eps_text"].dropna().unique()
        if len(radii) < 2:
            yield _labelled(rows, ATTACK, str(view), "accuracy")
        for eps in radii if len(radii) > 1 else ():
            yield _labelled(
                rows[rows["eps_text"].eq(eps) | failed], ATTACK, f"{_without_eps(str(view))} at {eps}", "accuracy"
            )
    distances = metrics[metrics["metric"].eq("median-distance")]
    for view, rows in distances.groupby("view", sort=False):
        yield _labelled(rows, ATTACK, f"median distance, {_without_eps(str(view))}", "median-distance")


def _corruptions(metrics: pd.DataFrame, means: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Each corrupted view where they are few, and the means."""
    chosen = _chosen(metrics, "corruption", "accuracy")
    views = dict(iter(chosen.groupby("view", sort=False)))
    models = metrics.drop_duplicates("model")[["model", "variant", "train_seed", "data"]]
    for kind, inside in corruptions.kinds(metrics).items():
        if len(views) <= _MOST_CORRUPTIONS or len(inside) == 1:
            yield from (_labelled(views[view], CORRUPTION, view, "accuracy") for view in inside)
        if len(inside) > 1:
            column = f"mean of {len(inside)} {kind.label}"
            rows = models.merge(means[means["column"].eq(column)].drop(columns="column"), on="model", how="left")
            broken = chosen[chosen["view"].isin(inside) & chosen["error"].notna()].drop_duplicates("model")
            errors = rows["model"].map(broken.set_index("model")["error"])
            yield _labelled(rows.assign(error=errors), CORRUPTION, column, "accuracy")


def _linearity(metrics: pd.DataFrame) -> Iterator[pd.DataFrame]:
    for view, rows in _chosen(metrics, "linearity", "gamma").groupby("view", sort=False):
        yield _labelled(rows, LINEARITY, str(view), "gamma")


def _without_eps(view: str) -> str:
    parsed = Spec.parse(view)
    return str(replace(parsed, arguments=tuple((key, value) for key, value in parsed.arguments if key != "eps")))


def _rows(found: pd.DataFrame) -> "pd.Series[Any]":
    """The variant of each model, with its data where there are several; the model itself where it is no repetition."""
    models = found.drop_duplicates("model").set_index("model")
    several = models["data"].nunique() > 1
    names: dict[str, str] = {}
    for (variant, data), part in models.groupby(["variant", "data"], sort=False):
        if not part["train_seed"].duplicated().any():
            label = f"{variant}, {data}" if several else str(variant)
            foreign = label in models.index and label not in part.index
            names |= dict.fromkeys(map(str, part.index), f"{label} (variant)" if foreign else label)
    return found["model"].map(lambda model: names.get(str(model), str(model)))


def _merged(part: pd.DataFrame) -> Mapping[str, Any]:
    errors = part["error"].dropna()
    flags = dict.fromkeys(flag for text in part["flags"].dropna() for flag in str(text).split(", "))
    whole = len(errors) == 0 and bool(part["value"].notna().all())
    return {
        "seeds": len(part),
        "value": part["value"].mean() if whole else float("nan"),
        "spread": part["value"].std() if whole and len(part) > 1 else float("nan"),
        "grade": worst(part["grade"]),
        "flags": ", ".join(flags) or None,
        "error": errors.iloc[0] if len(errors) else None,
    }
