"""Is one row of a table better than another? One test per pair of rows and column, and Holm over all of them.

Where both rows have two training seeds or more, the seeds are tested: pooling their samples would forget that another
seed gives another network. Otherwise the samples are, exactly for a rate of two checkpoints and by the paired bootstrap
for the rest; such a test speaks of these checkpoints and not of the variants that they come from.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from robusteval.core.paired import Difference, drawn_difference, holm, rate_difference, seed_difference
from robusteval.reporting.compare.columns import Column
from robusteval.reporting.compare.evidence import Drawn, Evidence
from robusteval.reporting.compare.pool import Row

LEVEL = 0.05
"""Of a significant difference, after Holm's correction."""

SEEDS, EXACT, BOOTSTRAP = "Welch over seeds", "exact McNemar", "paired bootstrap"


class Tested(NamedTuple):
    """A difference, first row minus second.

    Attributes:
        difference: with its own interval and p-value.
        test: which it was.
        adjusted: the p-value after Holm's correction.
    """

    difference: Difference
    test: str
    adjusted: float = float("nan")

    @property
    def significant(self) -> bool:
        """Whether chance over all comparisons explains it with at most `LEVEL`."""
        return self.adjusted <= LEVEL


Place = tuple[str, str]
"""A row's name and a column's label."""


def tested(
    first: Row, second: Row, column: Column, values: Mapping[Place, Sequence[float]], evidence: Evidence
) -> Tested | None:
    """The difference of two rows in a column; None where its metric allows no test and there are too few seeds.

    Args:
        first: a row.
        second: another.
        column: with a value for both.
        values: one per model of a row, in its order.
        evidence: of the samples.
    """
    one, other = (values[row.name, column.label] for row in (first, second))
    if min(len(one), len(other)) >= 2:
        return Tested(seed_difference(one, other), SEEDS)
    if len(one) == len(other) == 1:
        right = [evidence.right(row.models[0], column) for row in (first, second)]
        if right[0] is not None and right[1] is not None:
            return Tested(rate_difference(right[0], right[1]), EXACT)
    drawn = [_mean(row, column, evidence) for row in (first, second)]
    if drawn[0] is None or drawn[1] is None:
        return None
    draws = drawn[0].draws - drawn[1].draws
    value, n = drawn[0].value - drawn[1].value, drawn[0].n
    found = drawn_difference(value, draws[np.isfinite(draws)], n, shape=evidence.shape(column))
    return Tested(found, BOOTSTRAP)


def corrected(found: Mapping[Place, Tested]) -> dict[Place, Tested]:
    """The same differences with Holm's correction over all of them."""
    adjusted = holm([each.difference.p for each in found.values()])
    return {place: each._replace(adjusted=float(p)) for (place, each), p in zip(found.items(), adjusted, strict=True)}


def _mean(row: Row, column: Column, evidence: Evidence) -> Drawn | None:
    """The mean over the models of a row, whose samples are resampled together."""
    drawn = [found for model in row.models if (found := evidence.drawn(model, column)) is not None]
    if len(drawn) < len(row.models):
        return None
    value, draws = np.mean([each.value for each in drawn]), np.mean([each.draws for each in drawn], axis=0)
    return Drawn(float(value), draws, drawn[0].n)
