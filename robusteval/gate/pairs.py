"""Both sides brought together: which model answers to which, which rows are gated, and whether they can be compared."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robusteval.core.errors import InputError, RecordError, nearest
from robusteval.gate import baseline
from robusteval.gate.rules import Rules
from robusteval.gate.sides import AT, Entry, Rows, Side, halved, read_report
from robusteval.metrics import METRICS
from robusteval.results.comparable import require_comparable

CLASSIFYING = ("clean", "attack", "corruption")
"""Kinds of views that have an accuracy."""


@dataclass(frozen=True)
class Pair:
    """One model under one view, on both sides.

    Attributes:
        new: what is checked.
        old: what it is checked against.
        metrics: the gated ones.
        thin: whether one side is a baseline file, so that both are rounded as it is.
    """

    new: Entry
    old: Entry
    metrics: tuple[str, ...]
    thin: bool

    @property
    def problem(self) -> str:
        """Why there is nothing to compare; empty where there is."""
        failed = {"the view failed": self.new.failure, "the baseline's view failed": self.old.failure}
        return "; ".join(f"{what}: {why}" for what, why in failed.items() if why)

    def rows(self) -> tuple[Rows, Rows]:
        """The samples of both, in the same precision.

        Raises:
            RecordError: a file is missing or damaged, or the samples are not the same.
        """
        new, old = self.new.read(self.metrics), self.old.read(self.metrics)
        if not np.array_equal(new.samples, old.samples):
            raise RecordError(f"{self.new.model}, {self.new.view}: the two sides have other samples; measure the same")
        if not self.thin:
            return new, old
        return (new if new.thin else halved(new)), (old if old.thin else halved(old))


def read_side(path: Path) -> Side:
    """A report folder or a baseline file.

    Raises:
        RecordError: it is missing, damaged, or of another format version.
    """
    return read_report(path) if path.is_dir() else baseline.read(path)


def paired(new: Side, old: Side, rules: Rules, mapping: Mapping[str, str] | None = None) -> list[Pair]:
    """Every gated view of every model of the new side, beside the one it is compared with.

    Args:
        new: what is checked.
        old: the baseline.
        rules: say what is gated.
        mapping: from the new side's models to the old side's, for those whose names differ.

    Raises:
        InputError: a model has no counterpart, or the rules gate nothing.
        RecordError: the two differ in seed, views or samples.
    """
    found = [
        pair
        for model, other in counterparts(new.models, old.models, mapping or {}).items()
        for pair in _views(new, old, (model, other), rules)
    ]
    if not found:
        raise InputError(f"the rules gate no number of {new.name}: name views and metrics that it has")
    return found


def counterparts(new: list[str], old: list[str], mapping: Mapping[str, str]) -> dict[str, str]:
    """Which old model each new one is compared with.

    >>> counterparts(["after"], ["before"], {})
    {'after': 'before'}
    >>> counterparts(["a", "b2"], ["a", "b"], {"b2": "b"})
    {'a': 'a', 'b2': 'b'}

    Raises:
        InputError: one has none, or the mapping names a model that is not there.
    """
    for names, known in ((mapping.keys(), new), (mapping.values(), old)):
        for name in names:
            if name not in known:
                raise InputError(f"map={name!r}: there is no such model; {nearest(name, known)}")
    if len(new) == len(old) == 1:
        return {new[0]: old[0]}
    lost = [model for model in new if model not in mapping and model not in old]
    if lost:
        advice = f"name it with --map {lost[0]}=OLD, {nearest(lost[0], old)}"
        raise InputError(f"model {lost[0]!r} is not in the baseline: {advice}")
    return {model: mapping.get(model, model) for model in new}


def left_out(new: Side, old: Side, mapping: Mapping[str, str] | None = None) -> list[str]:
    """Models of the old side that nothing is compared with."""
    used = counterparts(new.models, old.models, mapping or {}).values()
    return [model for model in old.models if model not in used]


def _views(new: Side, old: Side, models: tuple[str, str], rules: Rules) -> Iterator[Pair]:
    mine, yours = (side.views(model) for side, model in zip((new, old), models, strict=True))
    chosen = {view: gated(view, mine.get(view), yours.get(view), rules) for view in dict.fromkeys([*mine, *yours])}
    failed = {view for side in (mine, yours) for view, entry in side.items() if entry.failure}
    # A curve that failed has no entries for its smaller radii: its own row says why.
    views = [view for view, metrics in chosen.items() if metrics and view.partition(AT)[0] not in failed - {view}]
    require_comparable([side.terms(model) for side, model in zip((new, old), models, strict=True)], views)
    for view in views:
        yield Pair(mine[view], yours[view], chosen[view], new.halved or old.halved)


def gated(view: str, new: Entry | None, old: Entry | None, rules: Rules) -> tuple[str, ...]:
    """The metrics of a view that the rules gate and a side has; where neither has any, as both failed, accuracy."""
    sides = [entry for entry in (new, old) if entry is not None]
    if any(entry.terms.get("kind") == "calibration" for entry in sides):  # it serves other views and judges none
        return ()
    known = {name for entry in sides for name in entry.estimates}
    if "nll" in known:  # predictions are stored: what the record does not name can be had from them
        known |= set(METRICS.classes)
    classifies = any(entry.terms.get("kind") in (*CLASSIFYING, None) for entry in sides)
    known = known or ({"accuracy"} if classifies else set())
    return tuple(name for name in rules.metrics if name in known and rules.gate(view, name) is not None)
