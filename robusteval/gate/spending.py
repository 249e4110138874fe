"""Looking more than once: when to look at a growing number of samples, and what each look costs.

The looks of a view are fixed before its first sample is measured: after half as many samples as at the look behind, the
last at all n of the baseline. The level is spent as the samples are - the linear use function of Lan and DeMets 1983
(Biometrika 70, 659-663) - by Bonferroni's inequality alone: a look's p-value is divided by the share of samples that
are new at it, the smallest quotient so far is a p-value at whatever look one stops, and Holm's correction over the rows
stands as it is (Tamhane et al. 2021, doi:10.1002/sim.9128). The intervals are likewise narrowed in their level, as the
repeated confidence intervals of Jennison and Turnbull 1989 (Journal of the Royal Statistical Society B 51, 305-361).
Nothing is assumed of how looks hang together, so that McNemar's test stays exact, and the bootstrap of ECE may do it.

The price: at the last look, which is new in half of its samples, 2.24 standard errors instead of 1.96. A confidence
sequence (Waudby-Smith and Ramdas 2020, arXiv:2010.09686) allows a look after every sample, and asks for about 3.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from robusteval.gate.rules import Rules
from robusteval.gate.verdict import Measured, Row, judge

FIRST = 500
"""Samples of the first look at least, where there are as many: with fewer hardly anything is certain."""


@dataclass(frozen=True)
class Look:
    """One look at one view.

    Attributes:
        view: its spec.
        of: samples there are.
        start: samples seen before.
        stop: samples seen then.
    """

    view: str
    of: int
    start: int
    stop: int

    @property
    def share(self) -> float:
        """Of the level, which this look spends."""
        return (self.stop - self.start) / self.of

    @property
    def last(self) -> bool:
        """Whether no sample is left after it."""
        return self.stop == self.of

    def rules(self, rules: Rules) -> Rules:
        """The rules with the level that this look spends."""
        return rules.model_copy(update={"level": rules.level * self.share})


Measure = Callable[[Sequence[Look]], Mapping[str, Sequence[Measured]]]
"""The gated rows of some views on their first `stop` samples, by view, at the level of `look.rules`."""


def sizes(n: int) -> tuple[int, ...]:
    """How many of n samples have been seen at each look.

    >>> sizes(10_000), sizes(1000), sizes(400)
    ((625, 1250, 2500, 5000, 10000), (500, 1000), (400,))
    """
    found = [n]
    while found[0] // 2 >= FIRST:
        found.insert(0, found[0] // 2)
    return tuple(found)


def looks(view: str, n: int) -> list[Look]:
    """All looks at a view of n samples."""
    return [Look(view, n, start, stop) for start, stop in pairwise((0, *sizes(n)))]


def until_certain(views: Mapping[str, int], measure: Measure, rules: Rules) -> list[Row]:
    """Look at growing numbers of samples until each row has its verdict, or none is left.

    A row that is certain is not looked at again, and a view of certain rows alone not measured again.

    Args:
        views: samples there are of each.
        measure: measures views as they are looked at; each row once per look.
        rules: of the gate.
    """
    ahead = {view: looks(view, n) for view, n in views.items()}
    found: dict[tuple[str, str, str], Measured] = {}
    rows, undecided = list[Row](), set[tuple[str, str, str]]()
    waiting = list(ahead)
    while due := [ahead[view].pop(0) for view in waiting if ahead[view]]:
        fresh = measure(due)
        for look in due:
            for row in fresh[look.view]:
                if (key := _key(row)) not in found or key in undecided:
                    found[key] = seen(row, look, found.get(key))
        rows = judge(list(found.values()), rules)
        undecided = {_key(row.measured) for row in rows if row.verdict == "cannot tell"}
        waiting = [look.view for look in due if any(_key(row) in undecided for row in fresh[look.view])]
    return rows


def seen(row: Measured, look: Look, before: Measured | None) -> Measured:
    """A row at a look, with the p-value that holds at whatever look one stops.

    Until the last look a row is not `same`: that no sample has differed yet is no proof.
    """
    earlier = 1.0 if before is None else before.p
    p = float(np.fmin(row.p / look.share, earlier)) if not row.problem else row.p
    return replace(row, p=p, same=row.same and look.last)


def _key(row: Measured) -> tuple[str, str, str]:
    return row.model, row.view, row.metric
