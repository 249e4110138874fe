"""The check as a whole: two sides, rules, and what comes of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from robusteval.gate.measure import Weights, measure
from robusteval.gate.pairs import left_out, paired
from robusteval.gate.rules import Rules
from robusteval.gate.sides import Side
from robusteval.gate.verdict import Row, exit_code, judge


@dataclass(frozen=True)
class Check:
    """What a check found.

    Attributes:
        new: name of what was checked.
        old: name of what it was checked against.
        rules: of the gate.
        rows: every gated number with its verdict.
        notes: what else a reader should know.
    """

    new: str
    old: str
    rules: Rules
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 in order, 1 regressed, 2 not comparable, 3 cannot be told: 2 goes before 1, and 1 before 3."""
        return exit_code(self.rows)


def check(new: Side, old: Side, rules: Rules | None = None, mapping: Mapping[str, str] | None = None) -> Check:
    """Compare a side with its baseline.

    Args:
        new: what is checked.
        old: the baseline.
        rules: of the gate; its defaults where none are given.
        mapping: from new models to old ones, where there are several and their names differ.

    Raises:
        RobustevalError: the two cannot be compared at all, or the rules gate nothing.
    """
    chosen = Rules() if rules is None else rules
    rows = judge(measure(paired(new, old, chosen, mapping), chosen, Weights(new.seed)), chosen)
    lost = left_out(new, old, mapping)
    return Check(new.name, old.name, chosen, tuple(rows), not_compared(old.name, lost))


def not_compared(baseline: str, models: Sequence[str], shown: int = 5) -> tuple[str, ...]:
    """A note on the models of a baseline that nothing was compared with, if there are any."""
    if not models:
        return ()
    more = f" and {len(models) - shown} more" if len(models) > shown else ""
    return (f"not compared: {', '.join(models[:shown])}{more} of {baseline}",)
