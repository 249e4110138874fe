"""AutoAttack: attacks without tuning, each on what those before left (Croce and Hein 2020, arXiv:2003.01690).

The order and the budgets of the three versions are those of the authors' code, github.com/fra31/auto-attack.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from robusteval.attacks.apgd import Apgd
from robusteval.attacks.attack import Cascade, Grade, Search
from robusteval.attacks.fab import Fab
from robusteval.attacks.square import Square
from robusteval.core.errors import require

_RESTARTS = 5
"""Of every untargeted search in the plus version."""


@dataclass(frozen=True)
class Autoattack(Cascade):
    """APGD, FAB and Square one after another.

    With few classes targets are all the wrong ones, and APGD raises the margin below 3 classes, targeted below 4.
    Budgets below the authors' make it another, weaker attack, which is graded `quick`.

    Attributes:
        mode: the authors' version. `standard`: APGD on the cross-entropy, targeted APGD, targeted FAB, Square;
            `plus`: APGD on the cross-entropy and on the difference of logits ratio, FAB, Square, targeted APGD,
            targeted FAB; `rand`, for models that answer at random: the first two of these alone, on means over passes.
        steps: iterations of each start of APGD and FAB.
        targets: the likeliest wrong classes that are aimed at in turn.
        n_queries: of Square.
        eot: passes of `rand` that each answer of the model is the mean of, in the search and where it is judged.
    """

    name: ClassVar[str] = "autoattack"

    mode: Literal["standard", "plus", "rand"] = "standard"
    steps: int = 100
    targets: int = 9
    n_queries: int = 5000
    eot: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("steps", "targets", "n_queries", "eot"):
            require(getattr(self, field) >= 1, field, "must be at least 1", getattr(self, field))

    @property
    def grade(self) -> Grade:
        """`A` at the authors' budgets or above; `B` in `rand`, which has no targeted search."""
        if self.mode == "rand":
            return "B" if self.steps >= 100 and self.eot >= 20 else "quick"
        return "A" if self.steps >= 100 and self.targets >= 9 and self.n_queries >= 5000 else "quick"

    @property
    def searches(self) -> tuple[Search, ...]:
        """In the authors' order."""
        match self.mode:
            case "standard":
                return (self._apgd(), *self._targeted, self._square)
            case "plus":
                untargeted = Fab(self.eps, self.norm, self.steps, _RESTARTS, targeted=False)
                climbs = (self._apgd(restarts=_RESTARTS), self._apgd("dlr", _RESTARTS))
                return (*climbs, untargeted, self._square, *self._targeted)
            case "rand":
                return (self._apgd(eot=self.eot), self._apgd("dlr", eot=self.eot))

    def _apgd(self, loss: Literal["ce", "dlr"] = "ce", restarts: int = 1, eot: int = 1) -> Search:
        return Apgd(self.eps, self.norm, loss, self.steps, restarts, eot=eot)

    @property
    def _targeted(self) -> tuple[Search, Search]:
        return (
            Apgd(self.eps, self.norm, "t", self.steps, targets=self.targets),
            Fab(self.eps, self.norm, self.steps, targets=self.targets),
        )

    @property
    def _square(self) -> Search:
        return Square(self.eps, self.norm, n_queries=self.n_queries)
