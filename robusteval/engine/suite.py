"""Suites: which views of which samples, checked whole before any work starts."""

from functools import cached_property
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from robusteval.core import config
from robusteval.core.errors import InputError, SpecError, require
from robusteval.core.spec import Spec
from robusteval.engine.sources import CALIBRATE_ON
from robusteval.probes import Probe, parse_view
from robusteval.probes.calibration import SOURCES, Calibration
from robusteval.probes.corrupted import Corrupted
from robusteval.probes.official import Official

Samples = int | Literal["all"]

MOST_CALIBRATED = 10_000
"""Samples of another split that recalibrators are fitted on, where the suite has no fewer."""


class Group(BaseModel):
    """Views measured on the same samples.

    Attributes:
        specs: views such as `clean`, `fog@3`, `pgd(eps=8/255, steps=20)`, `linearity`.
        samples: how many of the suite's samples, from the first on; all of them where not said.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    specs: tuple[str, ...] = Field(min_length=1)
    samples: int | None = Field(default=None, ge=1)

    @cached_property
    def probes(self) -> tuple[Probe, ...]:
        """The probes of the views."""
        return tuple(parse_view(spec) for spec in self.specs)


class Suite(BaseModel):
    """A named set of views.

    Attributes:
        name: the file's stem.
        description: one sentence.
        samples: the first N test samples, or all.
        checkpoints: patterns below the working directory that `robusteval eval` takes where none is named.
        train: the command that makes them.
        views: groups of views, in the order of the report.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    description: str = ""
    samples: Samples = "all"
    checkpoints: tuple[str, ...] = ()
    train: str = ""
    views: tuple[Group, ...] = Field(min_length=1)

    @property
    def probes(self) -> list[tuple[Probe, Group]]:
        """Every view with its group, in order."""
        return [(probe, group) for group in self.views for probe in group.probes]

    def stored(self) -> Self:
        """The suite with stored images for generated ones; as it is where it names views of stored images itself."""
        if any(isinstance(probe, Official) for probe, _ in self.probes):
            return self
        groups = [Group(specs=tuple(map(_stored, group.probes)), samples=group.samples) for group in self.views]
        return self.model_copy(update={"views": tuple(groups)})

    @property
    def calibration(self) -> Calibration | None:
        """The view that recalibrators are fitted on, where there is one.

        Raises:
            InputError: there are several.
        """
        found = [probe for probe, _ in self.probes if isinstance(probe, Calibration)]
        require(len(found) <= 1, "suite", "has several views to calibrate on; name one", list(map(str, found)))
        return found[0] if found else None

    def calibrated(self, split: str) -> Self:
        """The suite with recalibrators fitted on another split; as it is where it says so itself.

        Raises:
            InputError: there is no such split, or the suite names another one.
        """
        rule = "must be train, or validation, the part of it that the checkpoint's training held out"
        require(split in SOURCES, CALIBRATE_ON, rule, split)
        view = Calibration.from_spec(Spec("calibration", (("split", split),)))
        own = self.calibration
        require(own in (None, view), CALIBRATE_ON, f"the suite {self.name!r} has the view {own} already", split)
        group = Group(specs=(view.spec,), samples=MOST_CALIBRATED)
        return self if own else self.model_copy(update={"views": (*self.views, group)})

    def size(self, group: Group, available: int, samples: Samples | None = None) -> int:
        """How many samples a group is measured on; `samples` stands in for the suite's own number."""
        wanted = self.samples if samples is None else samples
        whole = available if wanted == "all" else min(wanted, available)
        return whole if group.samples is None else min(group.samples, whole)


def _stored(probe: Probe) -> str:
    return Official(probe.corruption, probe.severity).spec if isinstance(probe, Corrupted) else probe.spec


def load(name: str) -> Suite:
    """Read a suite by name or path, and every spec in it.

    Raises:
        InputError: the file is missing, does not parse, or has an unknown key or value; the line is named.
        SpecError: a view is unknown or named twice; the line is named.
    """
    path = config.find("suite", name, config.suites())
    suite = config.read(path, Suite, {"name": path.stem})
    check(suite, path)
    return suite


def check(suite: Suite, path: Path) -> None:
    """Parse every view of a suite; errors name the file and the line."""
    text, seen = path.read_text(), set[str]()

    def wrong(spec: str, reason: object) -> SpecError:
        quoted = next((mark + spec + mark for mark in "\"'" if mark + spec + mark in text), spec)
        return SpecError(f"{path}, line {config.line_of(text, quoted)}: {reason}")

    for group in suite.views:
        for spec in group.specs:
            try:
                view = parse_view(spec).spec
            except (SpecError, InputError) as error:
                raise wrong(spec, error) from None
            if view in seen:
                raise wrong(spec, f"the view {view!r} is named twice")
            seen.add(view)
