"""The gate on a checkpoint that nobody measured yet: views are measured on more samples until each row is certain.

The samples come in random order, as a data set may be sorted; each look measures those that are new at it into a report
folder of their own, so that the same command run again does only what is missing. `robusteval.gate.spending` says when
to look and keeps the level.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import cast

from robusteval.core.errors import InputError, RecordError, require
from robusteval.core.precision import Precision
from robusteval.data import DATA
from robusteval.engine import processes
from robusteval.engine.executor import Executor
from robusteval.engine.plan import Settings, resolved
from robusteval.engine.run import Run, Warn
from robusteval.engine.serial import Serial
from robusteval.engine.sources import DataSource, ModelSource, Stretch
from robusteval.engine.suite import Group, Suite
from robusteval.gate.check import Check
from robusteval.gate.measure import Weights, measure
from robusteval.gate.pairs import Pair, counterparts, gated
from robusteval.gate.parts import together
from robusteval.gate.rules import Rules
from robusteval.gate.sides import AT, Entry, Side, read_report
from robusteval.gate.spending import Look, until_certain
from robusteval.gate.verdict import Measured, Row
from robusteval.models.foreign import Description
from robusteval.models.loading import describe
from robusteval.probes import parse_view
from robusteval.results.comparable import require_comparable


def sequential(
    checkpoint: Path,
    old: Side,
    rules: Rules,
    mapping: Mapping[str, str] | None = None,
    out: Path | None = None,
    warn: Warn = lambda line: None,
) -> Check:
    """Measure a checkpoint until the gate is certain, or the baseline has no further sample.

    Args:
        checkpoint: its file; anybody else's has a sidecar that says what it is. It is measured on the baseline's data.
        old: the baseline.
        rules: of the gate.
        mapping: from the file's stem to a model of the baseline, where it has several and none of that name.
        out: the folder for the report folders of the parts, whose cells are not measured again; by default nothing is
            left on disk.
        warn: takes a line for each failed cell, and what a view says of the images.

    Raises:
        RobustevalError: the checkpoint cannot be used, or is not comparable with the baseline.
    """
    described = describe(checkpoint, Description(data=_data(old)))
    source = ModelSource(checkpoint.stem, DataSource(DATA.parse(described.data or "").spec), checkpoint, described)
    model = counterparts([source.label], old.models, mapping or {})[source.label]
    settings = Settings(old.seed, resolved("auto"), gradients=_gradients(old))
    with tempfile.TemporaryDirectory(prefix="robusteval-") as scratch:
        folder = Path(scratch) / "parts" if out is None else out
        watch = Watch(source, old, model, rules, settings, _executor(settings.device), folder, warn)
        rows = watch.rows()
    most = max(entry.n for found in watch.entries.values() for entry in found)
    note = f"measured step by step, {most} samples at most; p and interval allow for every look"
    return Check(str(checkpoint), old.name, rules, tuple(rows), (note,))


@dataclass
class Watch:
    """A checkpoint that is measured look by look.

    Attributes:
        source: the checkpoint, on the whole of its data.
        old: the baseline.
        model: the baseline's model that it is compared with.
        rules: of the gate.
        settings: of the measuring.
        executor: who measures.
        out: the folder of the parts' report folders.
        warn: takes a line for each thing that the reader should know.
        parts: the sides that were measured, by view.
    """

    source: ModelSource
    old: Side
    model: str
    rules: Rules
    settings: Settings
    executor: Executor
    out: Path
    warn: Warn
    parts: dict[str, list[Side]] = field(default_factory=dict)

    @cached_property
    def entries(self) -> dict[str, list[Entry]]:
        """What is gated of the baseline, by the view that measures it."""
        known = [entry for entry in self.old.views(self.model).values() if gated(entry.view, None, entry, self.rules)]
        return {view: list(found) for view, found in groupby(known, key=lambda entry: entry.view.split(AT)[0])}

    @cached_property
    def weights(self) -> Weights:
        """Resampling weights."""
        return Weights(self.old.seed)

    def rows(self) -> list[Row]:
        """Measure until every row is certain or no sample is left."""
        if not self.entries:
            raise InputError(f"the rules gate no number of {self.old.name}: name views and metrics that it has")
        for view in self.entries:
            whole = not parse_view(view).joint
            require(whole, "sequential", f"{view} looks at all samples together: leave it out with --rules", True)
        self._check_data()
        return until_certain({view: found[0].n for view, found in self.entries.items()}, self._measured, self.rules)

    def _check_data(self) -> None:
        split, known = self.source.data.load(), dict[int, str]()
        for view, (entry, *_) in self.entries.items():
            if entry.n not in known:
                known[entry.n] = split.first(entry.n).digest
            if known[entry.n] != entry.data:
                raise RecordError(
                    f"not comparable: {view} of {self.old.name} was measured on {entry.n} samples that are not the "
                    f"first {entry.n} of {self.source.data.spec}"
                )

    def _check_terms(self, part: Side) -> None:
        """Everything that must agree beside the samples, such as the versions of what changes the images."""
        known = self.old.views(self.model)
        mine = [each for each in part.entries if each.view in known]
        mine = [replace(each, n=known[each.view].n, data=known[each.view].data) for each in mine]
        terms = replace(part, name=self.source.label, entries=tuple(mine)).terms(self.source.label)
        require_comparable([terms, self.old.terms(self.model)], [each.view for each in mine])

    def _measured(self, due: Sequence[Look]) -> Mapping[str, Sequence[Measured]]:
        for (of, start, stop), group in groupby(sorted(due, key=_stretch), key=_stretch):
            views = [look.view for look in group]
            side = self._measure(views, Stretch(of, start, stop, self.settings.seed))
            self._check_terms(side)
            for view in views:
                self.parts.setdefault(view, []).append(side)
        return {look.view: measure(list(self._pairs(look)), look.rules(self.rules), self.weights) for look in due}

    def _measure(self, views: Sequence[str], stretch: Stretch) -> Side:
        """The side of some views on the samples of a stretch."""
        suite = Suite(name=self.old.suite, views=(Group(specs=tuple(views)),))
        source = replace(self.source, data=replace(self.source.data, stretch=stretch))
        folder = self.out / f"{stretch.start}-{stretch.stop}-of-{stretch.of}"
        Run(suite, [source], self.settings, self.executor, "all").into(folder, self.warn)
        return read_report(folder)

    def _pairs(self, look: Look) -> Iterator[Pair]:
        sides = [side.views(self.source.label) for side in self.parts[look.view]]
        for old in self.entries[look.view]:
            # A view that failed has no entries for its radii, but one of its own.
            parts = [side.get(old.view, side[look.view]) for side in sides]
            metrics = gated(old.view, parts[0], old, self.rules)
            yield Pair(*together(parts, old, metrics), metrics, self.old.halved)


def _data(old: Side) -> str | None:
    """The spec of the baseline's data; None where it does not say, or where they were in memory."""
    specs = {entry.terms.get("data") for entry in old.entries} - {None, "memory"}
    return str(next(iter(specs))) if len(specs) == 1 else None


def _gradients(old: Side) -> Precision:
    found = next((entry.terms.get("gradients") for entry in old.entries), None)
    return cast("Precision", found or "float32")


def _executor(device: str) -> Executor:
    workers = processes.default_workers(device)
    return Serial() if workers == 1 else processes.Processes(workers)


def _stretch(look: Look) -> tuple[int, int, int]:
    return look.of, look.start, look.stop
