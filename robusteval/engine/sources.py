"""Where models and data come from: descriptions small enough to send to a worker, which loads them itself."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from robusteval.core.errors import InputError, require
from robusteval.core.rng import Stream
from robusteval.data import DATA, Split
from robusteval.data.dataset import parts
from robusteval.data.official import OfficialSet
from robusteval.data.tiny_imagenet import TinyImagenet
from robusteval.models.checkpoint import Card, Loaded
from robusteval.models.foreign import Description
from robusteval.models.loading import load

CALIBRATE_ON = "calibrate-on"
"""The option, as errors name it."""


@dataclass(frozen=True)
class Part:
    """Samples to calibrate on: all of another split, or a stratified choice of so many.

    Attributes:
        name: `train`, `validation`, which a training held out of it, or `memory`.
        most: samples.
        held_out: share of the train split that the training held out.
        seed: of that training, which decides what it held out.
    """

    name: str
    most: int
    held_out: float = 0.0
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.name} of seed {self.seed}" if self.name == "validation" else self.name

    def of(self, whole: Split) -> Split:
        """The samples of a train split, or of what is in memory; ids stay.

        Raises:
            InputError: the share is too small for a single sample.
        """
        found: Split | None = whole
        if self.name == "validation":
            _, found = parts(whole, self.held_out, self.seed)
        if found is None:
            raise InputError(f"a share of {self.held_out} of {len(whole)} training samples is none")
        return found if len(found) <= self.most else found.stratified(self.most)


@dataclass(frozen=True)
class Stretch:
    """A stretch of the first samples of a split in random order: a data set may be sorted, and its start says little.

    Attributes:
        of: how many samples are ordered, from the first on.
        start: the first place of the stretch.
        stop: the place behind its last.
        seed: of the order, which goes by the samples' ids.
    """

    of: int
    start: int
    stop: int
    seed: int = 0

    def taken(self, split: Split) -> Split:
        """The samples of the stretch; ids stay."""
        whole = split.first(self.of)
        order = Stream.seeded(self.seed).stream("order").words(whole.ids, 1)[:, 0].argsort(stable=True)
        return whole.rows(order[self.start : self.stop].sort().values)


@dataclass(frozen=True)
class DataSource:
    """The test split of a data set by its spec, or a split in memory.

    Attributes:
        spec: of the data set.
        split: in memory.
        official: the folder of a stored set of its corrupted images.
        stretch: of the test split; the sources of one run share it.
        part: what of the data set stands in for the test split.
        other: in memory, to calibrate on.
    """

    spec: str
    split: Split | None = None
    official: Path | None = None
    stretch: Stretch | None = None
    part: Part | None = None
    other: Split | None = None

    @property
    def place(self) -> tuple[str, Part | None]:
        """What tells its samples from those of other sources in a run."""
        return self.spec, self.part

    def load(self) -> Split:
        """The test split, a stretch of it, or the part that stands in for it."""
        if self.part is not None:
            return self.part.of(DATA.parse(self.spec).split("train") if self.other is None else self.other)
        whole = DATA.parse(self.spec).split("test") if self.split is None else self.split
        return whole if self.stretch is None else self.stretch.taken(whole)

    def subset(self, n: int) -> str:
        """Which n samples of what is loaded, in words."""
        if self.part is not None:
            return f"{self.spec}, {n} of {self.part}"
        if self.stretch is not None:
            return f"{self.spec}, {n} of the first {self.stretch.of} in random order, from {self.stretch.start} on"
        return f"{self.spec}, first {n}"

    def stored(self, split: Split) -> OfficialSet | None:
        """The stored set of corrupted images, where there is one."""
        numbered = self.split is None and isinstance(DATA.parse(self.spec), TinyImagenet)
        return None if self.official is None else OfficialSet(self.official, split, numbered)


@dataclass(frozen=True)
class ModelSource:
    """A checkpoint by its path, or a model in memory.

    Attributes:
        label: the name in the record.
        data: what it is measured on.
        path: of a checkpoint.
        description: what is known of the checkpoint.
        trust_pickle: run code that the file holds.
        loaded: a model in memory instead of a path.
    """

    label: str
    data: DataSource
    path: Path | None = None
    description: Description | None = None
    trust_pickle: bool = False
    loaded: Loaded | None = None

    def load(self, split: Split) -> Loaded:
        """The model, checked against the data."""
        if self.loaded is not None:
            return self.loaded
        if self.path is None or self.description is None:
            raise ValueError(f"{self.label}: neither a model nor a described path")
        return load(self.path, self.description, split.shape, split.classes, self.trust_pickle)

    def part(self, name: str, card: Card, most: int) -> DataSource:
        """The samples to calibrate on: at most so many of the train split, of what was held out of it, or in memory.

        Raises:
            InputError: there are none of that name.
        """
        other = self.data.other if name == "memory" else None
        if name == "memory" and other is None:
            raise InputError(f"{CALIBRATE_ON}='memory': is for robusteval.evaluate, where it takes a pair of tensors")
        if name != "memory" and self.data.split is not None:
            raise InputError(f"{CALIBRATE_ON}={name!r}: data in memory have no other split; give a pair of tensors")
        if name != "validation":
            return replace(self.data, part=Part(name, most), other=other)
        share = float((card.recipe or {}).get("validation") or 0)
        rule = f"the card of {self.label} names no part of {self.data.spec} that its training held out; try train"
        require(share > 0 and card.data == self.data.spec, CALIBRATE_ON, rule, name)
        return replace(self.data, part=Part(name, most, share, card.seed or 0), other=None)

    def with_stored(self, official: Path | None) -> Self:
        """The same with a stored set of corrupted images."""
        return replace(self, data=replace(self.data, official=official))


def labels(paths: list[Path]) -> list[str]:
    """The files' stems; with as many folders in front as it takes to tell them apart, or with their suffixes.

    >>> labels([Path("a/x.pt"), Path("b/x.pt"), Path("b/y.pt"), Path("c/z.pt"), Path("c/z.th")])
    ['a/x', 'b/x', 'y', 'z.pt', 'z.th']
    """
    stems = [path.with_suffix("") for path in paths]
    names = [(path if stems.count(stem) > 1 else stem).parts for path, stem in zip(paths, stems, strict=True)]
    depth = [1] * len(names)
    while True:
        shown = ["/".join(name[-count:]) for name, count in zip(names, depth, strict=True)]
        twins = [
            place for place, name in enumerate(shown) if shown.count(name) > 1 and depth[place] < len(names[place])
        ]
        if not twins:
            return shown
        for place in twins:
            depth[place] += 1
