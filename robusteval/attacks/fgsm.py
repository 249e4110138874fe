"""FGSM: one step of full length along the gradient's steepest direction (Goodfellow et al. 2015, arXiv:1412.6572)."""

from dataclasses import dataclass
from typing import ClassVar

from robusteval.attacks.attack import Fresh, Search, State
from robusteval.attacks.norms import column
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

    def start(self, model: Oracle, fresh: Fresh, rng: Stream) -> State:
        """Start at the image."""
        return State.at(fresh.x, fresh)

    def advance(self, model: Oracle, state: State, rng: Stream) -> State:
        """Go to the end of the ball."""
        answer = model.gradient(state.x, state.y, self.objective)
        length = column(state.eps.to(state.x.dtype))
        return state.moved(self.inside(state.x + length * self.ball.steepest(answer.gradient), state.x0, state.eps))
