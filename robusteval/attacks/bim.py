"""BIM: gradient signs from the image itself, in small steps (Kurakin et al. 2017, arXiv:1607.02533)."""

from dataclasses import dataclass
from typing import ClassVar

from robusteval.attacks.attack import Fresh, State
from robusteval.attacks.oracle import Oracle
from robusteval.attacks.steps import Stepping
from robusteval.core.rng import Stream


@dataclass(frozen=True)
class Bim(Stepping):
    """The basic iterative method: projected gradient ascent without a random start.

    Attributes:
        path: the paper's ratio of path to radius.
    """

    name: ClassVar[str] = "bim"
    path: ClassVar[float] = 1.25

    def start(self, model: Oracle, fresh: Fresh, rng: Stream) -> State:
        """Start at the image."""
        return State.at(fresh.x, fresh)

    def advance(self, model: Oracle, state: State, rng: Stream) -> State:
        """One step up the cross-entropy, back into the ball."""
        answer = model.gradient(state.x, state.y)
        moved = self.inside(state.x + self.lengths(state) * self.ball.steepest(answer.gradient), state.x0, state.eps)
        return self.observed(state, answer.logits, answer.loss).moved(moved)
