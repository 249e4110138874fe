"""AutoAttack: four attacks without tuning, each on what those before left (Croce and Hein 2020, arXiv:2003.01690)."""

from dataclasses import dataclass
from typing import ClassVar

from robusteval.attacks.apgd import Apgd
from robusteval.attacks.attack import Cascade, Grade, Search
from robusteval.attacks.fab import Fab
from robusteval.attacks.square import Square
from robusteval.core.errors import require


@dataclass(frozen=True)
class Autoattack(Cascade):
    """The standard version: APGD on the cross-entropy, targeted APGD, targeted FAB, and Square.

    With few classes targets are all the wrong ones, and targeted APGD raises the margin below 4. Budgets below the
    authors' make it another, weaker attack, which is graded `quick`.

    Attributes:
        steps: iterations of each start of APGD and FAB.
        targets: the likeliest wrong classes that are aimed at in turn.
        n_queries: of Square.
    """

    name: ClassVar[str] = "autoattack"

    steps: int = 100
    targets: int = 9
    n_queries: int = 5000

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("steps", "targets", "n_queries"):
            require(getattr(self, field) >= 1, field, "must be at least 1", getattr(self, field))

    @property
    def grade(self) -> Grade:
        """`A` at the authors' budgets or above."""
        return "A" if self.steps >= 100 and self.targets >= 9 and self.n_queries >= 5000 else "quick"

    @property
    def searches(self) -> tuple[Search, ...]:
        """In the authors' order."""
        return (
            Apgd(self.eps, self.norm, steps=self.steps),
            Apgd(self.eps, self.norm, loss="t", steps=self.steps, targets=self.targets),
            Fab(self.eps, self.norm, steps=self.steps, targets=self.targets),
            Square(self.eps, self.norm, n_queries=self.n_queries),
        )
