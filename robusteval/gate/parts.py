"""A view that was measured part by part, put together, and the baseline cut down to the samples measured so far."""

import math
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robusteval.core.types import Estimate, Predictions
from robusteval.gate.sides import Entry, Rows

_FIELDS = tuple(each.name for each in fields(Predictions))


def together(parts: Sequence[Entry], old: Entry, metrics: Sequence[str]) -> tuple[Entry, Entry]:
    """A view that was measured in parts as one entry, and the baseline's entry on the same samples alone."""
    n, failure = sum(part.n for part in parts), next((part.failure for part in parts if part.failure), "")
    flags = dict.fromkeys(flag for part in parts for flag in part.flags.split(", ") if flag)
    grade = next((part.grade for part in parts if part.grade == "C"), parts[0].grade)
    new = replace(parts[0], view=old.view, n=n, data=old.data, grade=grade, flags=", ".join(flags), failure=failure)
    if failure or old.failure:
        return new, old
    rows = joined([part.read(metrics) for part in parts])
    whole = old.read(metrics)
    order = np.argsort(whole.samples)
    known = taken(whole, order[np.searchsorted(whole.samples, rows.samples, sorter=order)])
    return (
        replace(new, estimates=_pooled(parts), read=lambda _: rows),
        replace(old, n=n, read=lambda _: known),
    )


def joined(parts: Sequence[Rows]) -> Rows:
    """The samples of all parts, in the order of their ids; a part may lack what another has."""
    first = parts[0]
    rows = Rows(
        np.concatenate([part.samples for part in parts]),
        _concatenated([part.correct for part in parts]),
        None if first.predictions is None else _predictions(parts),
        {name: np.concatenate([part.columns[name] for part in parts]) for name in first.columns},
        first.thin,
    )
    return taken(rows, np.argsort(rows.samples))


def taken(rows: Rows, places: NDArray[np.intp]) -> Rows:
    """The samples at some places, in that order."""
    return Rows(
        rows.samples[places],
        None if rows.correct is None else rows.correct[places],
        None if rows.predictions is None else _predictions([rows], places),
        {name: values[places] for name, values in rows.columns.items()},
        rows.thin,
    )


def _predictions(parts: Sequence[Rows], places: NDArray[np.intp] | slice = slice(None)) -> Predictions:
    """Some of the predictions of all parts; logits only where every part has them."""
    values = {name: _concatenated([getattr(part.predictions, name) for part in parts]) for name in _FIELDS}
    kept: dict[str, Any] = {name: None if value is None else value[places] for name, value in values.items()}
    return Predictions(**kept)


def _concatenated(arrays: Sequence[NDArray[Any] | None]) -> NDArray[Any] | None:
    """All arrays as one, or None where one is missing."""
    present = [array for array in arrays if array is not None]
    return np.concatenate(present) if len(present) == len(arrays) else None


def _pooled(parts: Sequence[Entry]) -> dict[str, Estimate]:
    """Means of the parts' numbers, and how far off they may be; what is gated by its samples needs no more of it."""
    total = sum(part.n for part in parts)
    found = {}
    for name in parts[0].estimates:
        known = [(part.n / total, part.estimates[name]) for part in parts if name in part.estimates]
        value = math.fsum(share * each.value for share, each in known)
        below = math.hypot(*(share * (each.value - each.low) for share, each in known))
        above = math.hypot(*(share * (each.high - each.value) for share, each in known))
        found[name] = Estimate(value, value - below, value + above)
    return found
