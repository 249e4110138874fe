"""Signs of failure that show only when attacks on one model are held side by side (TRUST R10 to R13)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robusteval.attacks import Attack
from robusteval.attacks.flags import raised
from robusteval.core.spec import Spec

Bits = NDArray[np.bool_]


@dataclass(frozen=True)
class Verdicts:
    """What an attack left of the samples of one cell.

    Attributes:
        key: of the cell, as the record has it.
        model: its name.
        attack: what was run.
        subset: digest of the samples.
        robust: whether each sample held at the largest radius [n].
        correct: whether it was classified correctly before, where the clean view was measured on the same samples.
        classes: that the model tells apart.
    """

    key: str
    model: str
    attack: Attack
    subset: str
    robust: Bits
    correct: Bits | None
    classes: int

    @property
    def white_box(self) -> bool:
        """Whether some search uses gradients."""
        return any(search.white_box for search in self.attack.searches)

    @property
    def ball(self) -> tuple[str, str, str, float]:
        """Attacks of equal balls are compared."""
        return (self.model, self.subset, self.attack.norm, self.attack.radius)

    @property
    def kin(self) -> tuple[str, ...]:
        """Attacks that differ in their radius alone are compared."""
        parsed = Spec.parse(self.attack.spec)
        rest = [(key, value) for key, value in parsed.arguments if key != "eps"]
        return (self.model, self.subset, parsed.provider or "", parsed.name, repr(rest))


def crossed(verdicts: Sequence[Verdicts]) -> dict[str, tuple[str, ...]]:
    """The flags of each cell, by its key."""
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for verdict, name, tally in _signs(verdicts):
        signs = found.setdefault(verdict.key, {})
        signs[name] = max(signs.get(name, (0, 1)), tally)
    return {key: raised(signs) for key, signs in found.items() if raised(signs)}


def _signs(verdicts: Sequence[Verdicts]) -> Iterator[tuple[Verdicts, str, tuple[int, int]]]:
    for one in verdicts:
        if one.attack.norm == "linf" and one.attack.radius == 1 and one.white_box:
            chance = len(one.robust) // one.classes
            yield one, "unbounded-leaves-robust", (int(one.robust.sum()) - chance, len(one.robust))
    for one, other in permutations(verdicts, 2):
        n = len(one.robust)
        if one.kin == other.kin and other.attack.radius < one.attack.radius:
            yield one, "not-monotone", (int(one.robust.sum()) - int(other.robust.sum()), n)
        if one.ball != other.ball or not one.white_box:
            continue
        if other.attack.name == "fgsm" and one.attack.name != "fgsm":
            yield one, "weaker-than-one-step", (int(one.robust.sum()) - int(other.robust.sum()), n)
        if not other.white_box:
            yield one, "black-box-beats-white-box", (int((one.robust & ~other.robust).sum()), n)
        if other.attack.name == "noise" and one.correct is not None and one.robust.any():
            noise, gradient = (int((one.correct & ~each.robust).sum()) for each in (other, one))
            yield one, "noise-as-strong", (noise, gradient)


def marked(row: Mapping[str, Any], flags: Sequence[str]) -> dict[str, Any]:
    """A row of the record with flags beside those it has; with any the grade is C, an upper bound (TRUST R16)."""
    every = list(dict.fromkeys([*(row.get("flags") or "").split(", "), *flags]))
    text = ", ".join(flag for flag in every if flag) or None
    grade = row.get("grade")
    return {**row, "flags": text, "grade": "C" if text and grade is not None else grade}
