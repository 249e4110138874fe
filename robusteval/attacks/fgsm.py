"""FGSM: one step of full length along the gradient's steepest direction (Goodfellow et al. 2015, arXiv:1412.6572)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from robusteval.attacks.attack import Search, State
from robusteval.attacks.oracle import Oracle
from robusteval.core.rng import Stream


@dataclass(frozen=True)
class Fgsm(Search):
    """The fast gradient sign method; with `norm='l2'` the step follows the normalised gradient."""

    name: ClassVar[str] = "fgsm"

    @property
    def budget(self) -> int:
        """One step."""
        return 1

    def start(self, model: Oracle, x: Tensor, y: Tensor, ids: Tensor, rng: Stream, entry: int) -> State:
        """Start at the image."""
        return State.at(x, x, y, ids, entry)

    def advance(self, model: Oracle, state: State, rng: Stream) -> State:
        """Go to the end of the ball."""
        answer = model.gradient(state.x, state.y, self.objective)
        return state.moved(self.inside(state.x + self.eps * self.ball.steepest(answer.gradient), state.x0))
