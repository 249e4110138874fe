"""Where models and data come from: descriptions small enough to send to a worker, which loads them itself."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from robusteval.core.rng import Stream
from robusteval.data import DATA, Split
from robusteval.data.official import OfficialSet
from robusteval.data.tiny_imagenet import TinyImagenet
from robusteval.models.checkpoint import Loaded
from robusteval.models.foreign import Description
from robusteval.models.loading import load


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
        stretch: of the split; the sources of one run share it.
    """

    spec: str
    split: Split | None = None
    official: Path | None = None
    stretch: Stretch | None = None

    def load(self) -> Split:
        """The test split, or the stretch of it."""
        whole = DATA.parse(self.spec).split("test") if self.split is None else self.split
        return whole if self.stretch is None else self.stretch.taken(whole)

    def subset(self, n: int) -> str:
        """The first n samples of what is loaded, in words."""
        if self.stretch is None:
            return f"{self.spec}, first {n}"
        return f"{self.spec}, {n} of the first {self.stretch.of} in random order, from {self.stretch.start} on"

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
