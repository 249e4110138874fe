"""The gate's promises, kept or broken by simulated models: 1,000 runs of seven rows each, judged together."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from robusteval.core.paired import Difference, discordant_difference, mcnemar
from robusteval.core.types import Estimate
from robusteval.gate import spending, verdict
from robusteval.gate.measure import Weights, measure
from robusteval.gate.pairs import Pair
from robusteval.gate.rules import Rules
from robusteval.gate.sides import Entry, Rows, thin_predictions
from robusteval.gate.spending import Look, until_certain
from robusteval.gate.verdict import Measured, Row, judge

RUNS, ROWS = 1000, 7
MOST_ALARMS = 50
"""5% of the runs, with any alarm among all rows."""

RULES = Rules()
Counts = NDArray[np.int64]


def verdicts_that_differ(share: float, sizes: Sequence[int], drop: float = 0.0, seed: int = 0) -> Iterator[Counts]:
    """For each run, how many samples are newly broken and newly right in each row after each size, [sizes, rows, 2].

    The first row's true accuracy drops by `drop`, the others' stays.
    """
    generator = np.random.default_rng(seed)
    rates = np.full((ROWS, 3), [share / 2, share / 2, 1 - share])
    rates[0, :2] += drop / 2, -drop / 2
    fresh = np.diff(sizes, prepend=0)
    for _ in range(RUNS):
        yield generator.multinomial(fresh[:, None], rates[None])[..., :2].cumsum(axis=0)


known = cache(discordant_difference)


def measured(row: int, counts: Counts, n: int, level: float | None = None) -> Measured:
    """A row of accuracy from its counts; without a level its interval is endless, so that it is never `ok`.

    That spares the search for the interval's ends and can only add alarms: a row that is not in order is looked at
    again.
    """
    broken, right = map(int, counts)
    p = mcnemar(broken, right)
    endless = Difference((broken - right) / n, -np.inf, np.inf, p)
    found = endless if level is None else known(broken, right, n, level)
    return Measured(
        model="net",
        view=f"view {row}",
        metric="accuracy",
        n=n,
        difference=found.value,
        low=found.low,
        high=found.high,
        error=float(np.sqrt(broken + right - (broken - right) ** 2 / n) / n),
        p=found.p,
        same=broken + right == 0,
    )


def at_once(counts: Counts, n: int) -> list[Row]:
    """The fixed mode: one look at all samples."""
    return judge([measured(row, counts[-1, row], n) for row in range(ROWS)], RULES)


def step_by_step(counts: Counts, n: int, watched: int | None = None) -> list[Row]:
    """The sequential mode; the row that is watched has its interval."""
    places = {size: place for place, size in enumerate(spending.sizes(n))}

    def counted(due: Sequence[Look]) -> Mapping[str, Sequence[Measured]]:
        found = {}
        for look in due:
            row = int(look.view.removeprefix("view "))
            level = 1 - look.rules(RULES).level if row == watched else None
            found[look.view] = [measured(row, counts[places[look.stop], row], look.stop, level)]
        return found

    return until_certain({f"view {row}": n for row in range(ROWS)}, counted, RULES)


def alarms(runs: Iterator[list[Row]]) -> int:
    return sum(any(row.verdict == "regressed" for row in rows) for rows in runs)


@pytest.mark.parametrize("share", [0.04, 0.1, 0.2, 0.3])
@pytest.mark.parametrize("n", [500, 2000, 10_000])
def test_equal_models_raise_few_alarms(n: int, share: float) -> None:
    assert alarms(at_once(counts, n) for counts in verdicts_that_differ(share, [n])) <= MOST_ALARMS


@pytest.mark.parametrize(("n", "share"), [(1000, 0.3), (10_000, 0.04), (10_000, 0.1), (10_000, 0.2), (10_000, 0.3)])
def test_equal_models_raise_few_alarms_step_by_step(n: int, share: float) -> None:
    runs = verdicts_that_differ(share, spending.sizes(n))
    assert alarms(step_by_step(counts, n) for counts in runs) <= MOST_ALARMS


def test_without_holm_the_simulation_finds_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdict, "holm", lambda p_values: np.asarray(p_values, dtype=float))
    assert alarms(at_once(counts, 2000) for counts in verdicts_that_differ(0.2, [2000])) > 2 * MOST_ALARMS


def test_repeated_looks_at_the_full_level_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Look, "share", 1.0)
    runs = verdicts_that_differ(0.3, spending.sizes(10_000))
    assert alarms(step_by_step(counts, 10_000) for counts in runs) > MOST_ALARMS


@pytest.mark.parametrize("share", [0.04, 0.1, 0.15])
def test_a_drop_of_two_points_is_caught(share: float) -> None:
    runs = verdicts_that_differ(share, [10_000], drop=0.02)
    caught = sum(at_once(counts, 10_000)[0].verdict == "regressed" for counts in runs)
    assert caught >= 0.9 * RUNS


@pytest.mark.parametrize("share", [0.04, 0.15])
def test_a_drop_of_two_points_is_caught_step_by_step(share: float) -> None:
    runs = verdicts_that_differ(share, spending.sizes(10_000), drop=0.02)
    caught = sum(step_by_step(counts, 10_000, watched=0)[0].verdict == "regressed" for counts in runs)
    assert caught >= 0.9 * RUNS


def overconfident(gaps: Sequence[float], n: int, generator: np.random.Generator) -> list[Rows]:
    """Two models that agree on half of the samples, each so much more confident than right: its true ECE."""
    confidence, luck = (np.tile(generator.random(n), (2, 1)) for _ in range(2))
    changed = generator.random(n) < 0.5
    for values in (confidence, luck):
        values[1, changed] = generator.random(changed.sum())
    found, samples = [], np.arange(n)
    for gap, sure, chance in zip(gaps, 1 - 0.45 * confidence**2, luck, strict=True):
        correct = chance < sure - gap
        found.append(Rows(samples, correct, thin_predictions(samples, correct, sure, samples / n), thin=True))
    return found


def calibration_alarms(gaps: Sequence[float], runs: int, n: int = 1000) -> int:
    """Runs in which ECE has regressed, from what the gate does with the samples of two sides."""
    generator, weights, found = np.random.default_rng(0), Weights(0, draws=300), 0
    for _ in range(runs):
        old, new = (
            Entry("net", "clean", n, "", {"ece": Estimate(0.5, 0, 1)}, lambda _, rows=rows: rows)
            for rows in overconfident(gaps, n, generator)
        )
        (row,) = judge(measure([Pair(new, old, ("ece",), thin=True)], RULES, weights), RULES)
        found += row.verdict == "regressed"
    return found


@pytest.mark.parametrize("gap", [0.0, 0.05])
def test_equal_calibration_raises_few_alarms(gap: float) -> None:
    assert calibration_alarms((gap, gap), 200) <= 10


def test_worse_calibration_is_caught() -> None:
    assert calibration_alarms((0.05, 0.1), 50) >= 45
