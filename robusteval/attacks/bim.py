"""BIM: gradient signs from the image itself, in small steps (Kurakin et al. 2017, arXiv:1607.02533)."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from robusteval.attacks.attack import Search, State
from robusteval.attacks.oracle import Oracle
from robusteval.core.errors import require
from robusteval.core.rng import Stream


@dataclass(frozen=True)
class Bim(Search):
    """The basic iterative method: projected gradient ascent without a random start.

    Attributes:
        steps: iterations.
        step: size of one step in pixel units; 1.25 eps / steps by default, the paper's ratio of path to radius.
    """

    name: ClassVar[str] = "bim"

    steps: int = 10
    step: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.steps >= 1, "steps", "must be at least 1", self.steps)
        require(self.step is None or 0 < self.step < math.inf, "step", "must be above 0 and finite", self.step)

    @property
    def budget(self) -> int:
        """The steps."""
        return self.steps

    def start(self, model: Oracle, x: Tensor, y: Tensor, ids: Tensor, rng: Stream, entry: int) -> State:
        """Start at the image."""
        return State.at(x, x, y, ids, entry)

    def advance(self, model: Oracle, state: State, rng: Stream) -> State:
        """One step up the cross-entropy, back into the ball."""
        answer = model.gradient(state.x, state.y)
        length = 1.25 * self.eps / self.steps if self.step is None else self.step
        moved = self.inside(state.x + length * self.ball.steepest(answer.gradient), state.x0)
        return self.observed(state, answer.logits, answer.loss).moved(moved)
