"""Noise: random points of the ball, which gradients should beat by far (Carlini et al. 2019, arXiv:1902.06705)."""

from dataclasses import dataclass
from typing import ClassVar

from robusteval.attacks.attack import Fresh, Search, State
from robusteval.attacks.losses import cross_entropy
from robusteval.attacks.norms import NORMS, NormName, column
from robusteval.attacks.oracle import Oracle
from robusteval.core.errors import require
from robusteval.core.rng import Stream


@dataclass(frozen=True)
class Noise(Search):
    """Uniform draws from the ball, passed forward only (TRUST R13).

    Attributes:
        draws: points per sample.
    """

    name: ClassVar[str] = "noise"
    norms: ClassVar[tuple[NormName, ...]] = tuple(NORMS)
    white_box: ClassVar[bool] = False
    climbs: ClassVar[bool] = False

    draws: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.draws >= 1, "draws", "must be at least 1", self.draws)

    @property
    def budget(self) -> int:
        """The draws."""
        return self.draws

    def start(self, model: Oracle, fresh: Fresh, rng: Stream) -> State:
        """Start at the image."""
        return State.at(fresh.x, fresh)

    def advance(self, model: Oracle, state: State, rng: Stream) -> State:
        """Another point of the ball."""
        offset = self.ball.draw(rng, state.ids, state.x.shape[1:], state.iteration)
        reach = column(state.eps.to(offset.dtype)) * offset
        there = state.moved(self.inside(state.x0 + reach, state.x0, state.eps))
        logits = model.logits(there.x)
        return self.observed(there, logits, cross_entropy(logits, there.y))

    def close(self, model: Oracle, state: State) -> State:
        """Every point was seen when it was drawn."""
        return state
