"""PGD: projected gradient ascent on the cross-entropy from random starts (Madry et al. 2018, arXiv:1706.06083)."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from robusteval.attacks.attack import Attack, State
from robusteval.attacks.oracle import Oracle
from robusteval.core.errors import require
from robusteval.core.rng import Stream


@dataclass(frozen=True)
class Pgd(Attack):
    """Projected gradient descent; the best of all iterates and restarts counts.

    Attributes:
        steps: iterations of one start.
        step: size of one step in pixel units; 2.5 eps / steps by default.
        restarts: starts per sample.
        random_start: whether a start is drawn uniformly from the ball.
    """

    name: ClassVar[str] = "pgd"

    steps: int = 20
    step: float | None = None
    restarts: int = 1
    random_start: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.steps >= 1, "steps", "must be at least 1", self.steps)
        require(self.restarts >= 1, "restarts", "must be at least 1", self.restarts)
        require(self.step is None or 0 < self.step < math.inf, "step", "must be above 0 and finite", self.step)

    @property
    def budget(self) -> int:
        """The steps of one start."""
        return self.steps

    @property
    def entries(self) -> int:
        """The restarts."""
        return self.restarts

    def start(self, model: Oracle, x: Tensor, y: Tensor, ids: Tensor, rng: Stream, entry: int) -> State:
        """Start at a random point of the ball, or at the image."""
        if not self.random_start:
            return State.at(x, x, y, ids, entry)
        offset = self.eps * self.ball.draw(rng, ids, x.shape[1:], ids.new_full(ids.shape, entry))
        return State.at(self.inside(x + offset, x), x, y, ids, entry)

    def advance(self, model: Oracle, state: State, rng: Stream) -> State:
        """One step up the loss, back into the ball."""
        answer = model.gradient(state.x, state.y, self.loss)
        length = 2.5 * self.eps / self.steps if self.step is None else self.step
        moved = self.inside(state.x + length * self.ball.steepest(answer.gradient), state.x0)
        return self.observed(state, answer.logits, answer.loss).moved(moved)
