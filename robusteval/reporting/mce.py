"""The mCE of a report against AlexNet or a model of another report, as the command line asks for it."""

from pathlib import Path

import pandas as pd

from robusteval.core.errors import InputError, nearest, require
from robusteval.reporting import corruptions
from robusteval.results.store import Store

ALEXNET = "alexnet"
_IMAGENET = 1000


def write(folder: Path, against: str) -> pd.DataFrame:
    """Write `mce.csv` into a report: the mCE and the relative mCE of its models, with what they are divided by.

    Args:
        folder: of the report.
        against: `alexnet`, whose published errors are of ImageNet-C; a report folder of one model, or `FOLDER:MODEL`.

    Returns:
        The frame of `robusteval.reporting.corruptions.mean_corruption_errors`, with `against`.

    Raises:
        RecordError: one of the folders is no report.
        InputError: the report has no view of the 15 test corruptions, the reference holds several models or is of other
            data, or AlexNet is asked for where the data have not its classes.
    """
    run, store = Store.check(folder), Store(folder)
    metrics = store.read_metrics()
    if all(kind.set != "test" for kind in corruptions.kinds(metrics)):
        raise InputError(f"mce-against={against!r}: {folder} has no view of the 15 test corruptions, such as fog@3")
    if against == ALEXNET:
        counts = {len(names) for names in dict(run.get("classes", {})).values()}
        rule = "AlexNet's errors are of ImageNet-C, of 1000 classes; name a reference report"
        require(counts <= {_IMAGENET}, "mce-against", rule, against)
        reference = None
    else:
        reference = _reference(against, set(metrics["data"].dropna()))
    samples = corruptions.samples_of(store)
    found = corruptions.mean_corruption_errors(metrics, samples, reference, int(run["seed"])).assign(against=against)
    store.write_csv("mce", found)
    return found


def markdown(found: pd.DataFrame) -> str:
    """The errors in %, one row per model and kind of corrupted images, and what they are."""
    lines = ["| model | images | mCE (%) | relative mCE (%) |", "| --- | --- | ---: | ---: |"]
    named = found.assign(family=found["family"].fillna(""))
    for (model, origin, family), rows in named.groupby(["model", "origin", "family"], sort=False):
        images = f"{origin}, family {family}" if family else str(origin)
        cells = [_cell(rows[rows["score"].eq(score)]) for score in ("mCE", "relative mCE")]
        lines.append(f"| {model} | {images} | {cells[0]} | {cells[1]} |")
    whose = "AlexNet (published, ImageNet-C)" if found["against"].eq(ALEXNET).all() else found["against"].iloc[0]
    lines += ["", f"- Divided by the errors of {whose}; the intervals are 95% over samples."]
    lines += [f"- {score}: {corruptions.DEFINITIONS[score]}." for score in ("mCE", "relative mCE")]
    return "\n".join([*lines, *(f"- missing for {score}: {what}" for score, what in _missing(found).items()), ""])


def _reference(against: str, data: set[str]) -> pd.DataFrame:
    """The samples of the model to divide by."""
    folder, model = Path(against), None
    if not folder.is_dir() and ":" in against:
        name, _, model = against.rpartition(":")
        folder = Path(name)
    Store.check(folder)
    store = Store(folder)
    samples = corruptions.samples_of(store)
    models, theirs = list(dict.fromkeys(samples["model"])), set(store.read_metrics()["data"].dropna())
    rule = f"its data are {', '.join(sorted(theirs))}, those of the report {', '.join(sorted(data))}"
    require(theirs == data, "mce-against", rule, against)
    if model is None:
        require(len(models) == 1, "mce-against", f"holds {len(models)} models; name one, as FOLDER:MODEL", against)
        return samples
    require(model in models, "mce-against", nearest(model, models), against)
    return samples[samples["model"].eq(model)]


def _cell(rows: pd.DataFrame) -> str:
    if not len(rows) or rows["value"].isna().all():
        return "-"
    value, low, high = (100 * float(rows[name].iloc[0]) for name in ("value", "low", "high"))
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"


def _missing(found: pd.DataFrame) -> dict[str, str]:
    """The views that are missing, by score, where every model misses them."""
    rows = found[found["missing"].notna()]
    return {str(score): str(part["missing"].iloc[0]) for score, part in rows.groupby("score", sort=False)}
