"""PGD: projected gradient ascent from random starts (Madry et al. 2018, arXiv:1706.06083).

In L1 it is SLIDE (Tramèr and Boneh 2019, arXiv:1904.13000): a step changes the 1% of the pixels with the largest
gradients by one amount, and passes over those that are already at that end of the box.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from robusteval.attacks.attack import Fresh, State
from robusteval.attacks.losses import LOSSES, Loss, LossName
from robusteval.attacks.norms import NORMS, NormName, column, inward, sparse
from robusteval.attacks.oracle import Oracle
from robusteval.attacks.steps import Stepping
from robusteval.core.errors import require
from robusteval.core.rng import Stream

_SHARE = 0.01


@dataclass(frozen=True)
class Pgd(Stepping):
    """Projected gradient descent; the best of all iterates and restarts counts.

    Attributes:
        steps: iterations of one start.
        restarts: starts per sample.
        random_start: whether a start is drawn uniformly from the ball.
        loss: what is raised: cross-entropy, margin, or the difference of logits ratio, which is the margin below 3
            classes.
    """

    name: ClassVar[str] = "pgd"
    norms: ClassVar[tuple[NormName, ...]] = tuple(NORMS)
    path: ClassVar[float] = 2.5

    steps: int = 20
    restarts: int = 1
    random_start: bool = True
    loss: LossName = "ce"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.restarts >= 1, "restarts", "must be at least 1", self.restarts)

    def entries(self, classes: int) -> int:
        """The restarts."""
        return self.restarts

    @property
    def objective(self) -> Loss:
        """The loss that was chosen."""
        return LOSSES[self.loss]

    def start(self, model: Oracle, fresh: Fresh, rng: Stream) -> State:
        """Start at a random point of the ball, or at the image."""
        x, _, ids, eps, entry = fresh
        if not self.random_start:
            return State.at(x, fresh)
        offset = column(eps.to(x.dtype)) * self.ball.draw(rng, ids, x.shape[1:], ids.new_full(ids.shape, entry))
        return State.at(self.inside(x + offset, x, eps), fresh)

    def advance(self, model: Oracle, state: State, rng: Stream) -> State:
        """One step up the loss, back into the ball."""
        answer = model.gradient(state.x, state.y, self.objective)
        uphill = self._uphill(answer.gradient, state.x)
        moved = self.inside(state.x + self.lengths(state) * uphill, state.x0, state.eps)
        return self.observed(state, answer.logits, answer.loss).moved(moved)

    def _uphill(self, gradient: Tensor, x: Tensor) -> Tensor:
        if self.norm != "l1":
            return self.ball.steepest(gradient)
        return sparse(inward(gradient, x), gradient.new_full(x.shape[:1], _SHARE))
