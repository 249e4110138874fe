"""Which views a report's plots show by default, where all would be too many."""

import pandas as pd

from robusteval.reporting import corruptions
from robusteval.reporting.plots.record import Record


def strongest_attack(record: Record) -> str | None:
    """The attacked view that leaves the lowest mean accuracy over the models it was run on, at its largest radius."""
    accuracy = accuracies(record, "attack")
    last = accuracy.sort_values("eps", kind="stable").drop_duplicates(["model", "view"], keep="last")
    means = last.groupby("view", sort=False)["value"].mean()
    return str(means.idxmin()) if len(means) else None


def corrupted_views(record: Record) -> list[str]:
    """The corrupted views of the record's first kind: the 15 test corruptions, where there are any of them."""
    kinds = corruptions.kinds(record.metrics)
    first = sorted(kinds, key=lambda kind: kind.set != "test")
    return kinds[first[0]] if first else []


def accuracies(record: Record, kind: str) -> pd.DataFrame:
    """The rows of accuracy in views of a kind."""
    metrics = record.metrics
    return metrics[metrics["kind"].eq(kind) & metrics["metric"].eq("accuracy") & metrics["error"].isna()]
