"""FMN, the fast minimum-norm attack: a ball that shrinks onto the boundary (Pintor et al. 2021, arXiv:2102.12827).

Each step goes up the margin loss and back into a ball whose radius is the sample's own: at first the distance to the
linearised boundary, then smaller by a share after each misclassified point and larger after each other. Step size and
share fall along half a cosine. The linearised boundary is where another class would lead beyond rounding. Pixels that a
step would push out of the box count for nothing in it: with them the radius of the paper's rule may stay too small.
"""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, cast

import torch
from torch import Tensor

from robusteval.attacks.attack import Fresh, State, certain
from robusteval.attacks.minimum import Minimum, beyond
from robusteval.attacks.norms import NORMS, NormName, column, inward
from robusteval.attacks.oracle import Answer, Oracle
from robusteval.core.errors import require
from robusteval.core.rng import Stream

_LAST_GAMMA = 0.001


@dataclass
class _Bounded(State):
    """Rows in balls of their own.

    Attributes:
        limit: the present radius in pixel units [n] float64.
    """

    limit: Tensor


@dataclass(frozen=True)
class Fmn(Minimum):
    """The fast minimum-norm attack, which starts at the image.

    Attributes:
        steps: iterations.
        alpha: Euclidean length of the first step, in pixel units, whatever the norm.
        alpha_final: of the last one; by default a hundredth of `alpha`.
        gamma: share by which the radius changes at first; it falls to 0.001.
    """

    name: ClassVar[str] = "fmn"
    norms: ClassVar[tuple[NormName, ...]] = tuple(NORMS)

    steps: int = 100
    alpha: float = 1.0
    alpha_final: float | None = None
    gamma: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.steps >= 1, "steps", "must be at least 1", self.steps)
        require(0 < self.alpha < math.inf, "alpha", "must be above 0 and finite", self.alpha)
        require(0 < self.gamma < 1, "gamma", "must be above 0 and below 1", self.gamma)
        last = self.alpha_final
        require(last is None or 0 < last < math.inf, "alpha_final", "must be above 0 and finite", last)

    @property
    def budget(self) -> int:
        """The steps."""
        return self.steps

    def start(self, model: Oracle, fresh: Fresh, rng: Stream) -> State:
        """Start at the image, in no ball yet."""
        return _Bounded(**vars(State.at(fresh.x, fresh)), limit=torch.full_like(fresh.eps, torch.inf))

    def advance(self, model: Oracle, state: State, rng: Stream) -> State:
        """One step up the loss, back into the ball of a radius that has just been changed."""
        answer = model.gradient(state.x, state.y, self.objective)
        state = self.observed(cast(_Bounded, state), answer.logits, answer.loss)
        falling = (1 + torch.cos(math.pi * state.iteration.to(torch.float64) / self.steps)) / 2
        last = self.alpha / 100 if self.alpha_final is None else self.alpha_final
        length = (last + (self.alpha - last) * falling).to(state.x.dtype)
        # What would leave the box moves nothing, and neither the boundary's distance nor the step may count on it.
        answer = answer._replace(gradient=inward(answer.gradient, state.x))
        limit = self._limit(state, answer, _LAST_GAMMA + (self.gamma - _LAST_GAMMA) * falling)
        ahead = state.x + column(length) * NORMS["l2"].steepest(answer.gradient)
        return replace(state, limit=limit).moved(self.inside(ahead, state.x0, limit))

    def _limit(self, state: _Bounded, answer: Answer, gamma: Tensor) -> Tensor:
        """The next radius of each row [n], at most that of the whole box."""
        nearest = -state.loss
        rise = answer.loss.abs() + beyond(answer.logits)
        slope = NORMS[self.ball.dual].size(answer.gradient.to(torch.float64)).clamp_min(torch.finfo(torch.float32).tiny)
        limit = torch.where(
            certain(answer.logits, state.y),
            torch.minimum(state.limit * (1 - gamma), nearest),
            torch.where(nearest < torch.inf, state.limit * (1 + gamma), self.size(state.x, state.x0) + rise / slope),
        )
        box = torch.maximum(state.x0, 1 - state.x0).to(torch.float64)
        return torch.minimum(limit, self.ball.size(box))
