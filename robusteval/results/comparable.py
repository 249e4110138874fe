"""May records be compared sample by sample? The terms under which each was measured, and where they differ.

Two numbers of one view may be set side by side where the images, the seed, the view's spec and the versions of its
components are the same, stored images have one origin (TRUST R23), and gradients one precision. The weights of the
models, the device and the number of threads may differ: rounding alone depends on the latter two.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import pandas as pd

from robusteval.core.errors import RecordError, SpecError
from robusteval.core.spec import Spec
from robusteval.results.store import Store

TERM_COLUMNS = ("model", "view", "kind", "data", "n", "subset", "seed", "origin", "gradients", "versions")
"""A row per cell: `subset` is the digest of images, labels and ids; `versions` may be missing in an older record."""

MISSING = "missing"
"""The value of the key `view` on the side that lacks it."""

ADVICE = "measure it again, or name another report"
"""The end of the line about a report that cannot be read."""

_OFFICIAL = "official:"


class Mismatch(NamedTuple):
    """Something that must agree and does not.

    Attributes:
        key: what it is: `data`, `samples`, `data digest`, `seed`, `origin`, `gradients`, `versions`, `suite`, `view`,
            or an argument of a view such as `eps`.
        first: its value on one side.
        second: its value on the other.
        sentence: both sides and both values, for a reader.
    """

    key: str
    first: str
    second: str
    sentence: str


@dataclass(frozen=True)
class Terms:
    """What a record says of how it was measured.

    Attributes:
        name: of the record, as sentences call it.
        suite: the name of its suite.
        cells: one row per cell, with `TERM_COLUMNS`.
    """

    name: str
    suite: str
    cells: pd.DataFrame

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The terms of a report folder.

        Raises:
            RecordError: it is missing, damaged, or of another format version.
        """
        run, store = Store.check(folder, ADVICE), Store(folder)
        return cls.of(str(folder), run, store.read_table("cells"), store.read_metrics())

    @classmethod
    def of(cls, name: str, run: dict[str, Any], cells: pd.DataFrame, metrics: pd.DataFrame) -> Self:
        """The terms of a report whose parts are read already: `run.json`, `cells` and `metrics`.

        Raises:
            RecordError: a part lacks what every report has.
        """
        try:
            facts = metrics.drop_duplicates(["model", "view"])[["model", "view", "kind", "data", "origin"]]
            known = cells[["model", "view", "n"]].assign(subset=cells["data"], versions=cells.get("versions"))
            seed, gradients = run["seed"], run["numerics"].get("gradients", "float32")
            joined = known.merge(facts, on=["model", "view"], how="left").assign(seed=seed, gradients=gradients)
            return cls(name, str(run["suite"]["name"]), joined[[*TERM_COLUMNS]])
        except (KeyError, TypeError, AttributeError) as error:
            raise RecordError(f"{name} is damaged: {error} is missing; run its command again") from None

    @property
    def views(self) -> dict[str, None]:
        """Its views, in order."""
        return dict.fromkeys(map(str, self.cells["view"]))


def mismatches(records: Sequence[Terms], views: Collection[str] | None = None) -> list[Mismatch]:
    """Everything that keeps these records, and the models inside each, from being compared; each difference once.

    Args:
        records: one or more.
        views: those to be compared, which every record must have; None for every view of any record.
    """
    found = [each for other in records[1:] for each in _absent(records[0], other, views)]
    rows = pd.concat([record.cells.assign(record=record.name) for record in records], ignore_index=True)
    for view, part in rows.groupby("view", sort=False):
        if views is None or view in views:
            found += _unequal(str(view), part)
    return list({(each.key, each.first, each.second): each for each in reversed(found)}.values())[::-1]


def require_comparable(records: Sequence[Terms], views: Collection[str] | None = None) -> None:
    """Refuse records that may not be compared: see `mismatches`.

    Raises:
        RecordError: the first difference in a sentence, and the keys of the others.
    """
    found = mismatches(records, views)
    if found:
        others = [key for key in dict.fromkeys(each.key for each in found) if key != found[0].key]
        more = f" (and {', '.join(others)})" if others else ""
        raise RecordError(f"not comparable: {found[0].sentence}{more}")


def _unequal(view: str, rows: pd.DataFrame) -> Iterator[Mismatch]:
    """The keys in which cells of one view differ from the first of them."""
    first = rows.iloc[0]
    for _, row in rows.iloc[1:].iterrows():
        keys = ["seed", "origin", "versions"]
        if row["kind"] not in ("clean", "corruption"):
            keys.append("gradients")  # elsewhere nothing is differentiated
        if row["subset"] != first["subset"]:
            same = row["data"] == first["data"] or pd.isna(row["data"]) or pd.isna(first["data"])
            other = "data digest" if row["n"] == first["n"] else "samples"
            yield _differing(other if same else "data", view, first, row)
        for key in keys:
            if pd.notna(row[key]) and pd.notna(first[key]) and row[key] != first[key]:
                yield _differing(key, view, first, row)


_COLUMN = {"samples": "n", "data digest": "subset"}


def _differing(key: str, view: str, first: "pd.Series[Any]", second: "pd.Series[Any]") -> Mismatch:
    column = _COLUMN.get(key, key)
    one, other = (str(row[column])[:16] if column == "subset" else str(row[column]) for row in (first, second))
    names = [str(row["record"]) for row in (first, second)]
    if names[0] == names[1]:
        names = [f"{row['model']} of {row['record']}" for row in (first, second)]
    return Mismatch(key, one, other, _sentence(key, names, (one, other), f", view {view}"))


def _sentence(key: str, names: Sequence[str], values: Sequence[str], where: str = "") -> str:
    if MISSING in values:
        (have, view), (lack, _) = sorted(zip(names, values, strict=True), key=lambda pair: pair[1] == MISSING)
        return f"{have} has the view {view}, and {lack} has not"
    return f"{key} is {values[0]} in {names[0]} and {values[1]} in {names[1]}{where}"


def _absent(first: Terms, second: Terms, views: Collection[str] | None) -> Iterator[Mismatch]:
    """Views that one of two records lacks, explained by the nearest view that it has instead."""
    names = (first.name, second.name)
    lacking = [_left(one, other, views) for one, other in ((first, second), (second, first))]
    for turned, (one, other) in enumerate(((first, second), (second, first))):
        for view in lacking[turned]:
            rest = [each for each in other.views if each not in one.views]
            key, here, there = _kin(view, rest) or _elsewhere(view, one, other)
            values = (there, here) if turned else (here, there)
            yield Mismatch(key, *values, _sentence(key, names, values, f", view {view}"))


def _left(one: Terms, other: Terms, views: Collection[str] | None) -> list[str]:
    """The views that are to be compared, in one record, and not in the other."""
    return [view for view in one.views if view not in other.views and (views is None or view in views)]


def _kin(view: str, others: Sequence[str]) -> tuple[str, str, str] | None:
    """The one argument, or the origin, in which a view differs from one of the others; eps is named before the rest."""
    found: dict[str, tuple[str, str, str]] = {}
    for other in others:
        if view.removeprefix(_OFFICIAL) == other.removeprefix(_OFFICIAL):
            one, two = ("stored" if each.startswith(_OFFICIAL) else "generated" for each in (view, other))
            return "origin", one, two
        for key, values in _arguments(view, other).items():
            found.setdefault(key, (key, *values))
    return found.get("eps") or next(iter(found.values()), None)


def _arguments(view: str, other: str) -> dict[str, tuple[str, str]]:
    """The arguments in which two views of one component differ."""
    try:
        one, two = Spec.parse(view), Spec.parse(other)
    except SpecError:  # of a corruption, as its severity follows
        head, _, tail = view.rpartition("@")
        start, _, end = other.rpartition("@")
        return {"severity": (tail, end)} if head == start else {}
    if (one.provider, one.name) != (two.provider, two.name):
        return {}
    left, right = dict(one.arguments), dict(two.arguments)
    keys = dict.fromkeys([*left, *right])
    pairs = {key: (_written(left, key), _written(right, key)) for key in keys}
    return {key: (here, there) for key, (here, there) in pairs.items() if here != there}


def _written(arguments: dict[str, Any], key: str) -> str:
    return repr(arguments[key]) if key in arguments else "its default"


def _elsewhere(view: str, one: Terms, other: Terms) -> tuple[str, str, str]:
    if one.suite != other.suite:
        return "suite", one.suite, other.suite
    return "view", view, MISSING
