"""MI-FGSM: steps along a running sum of normalised gradients (Dong et al. 2018, arXiv:1710.06081)."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, cast

import torch
from torch import Tensor

from robusteval.attacks.attack import Fresh, State
from robusteval.attacks.oracle import Oracle
from robusteval.attacks.steps import Stepping
from robusteval.core.errors import require
from robusteval.core.rng import Stream


@dataclass
class _Moving(State):
    """Rows with their momentum.

    Attributes:
        momentum: decayed sum of the gradients so far, each of unit L1 norm [n, c, h, w].
    """

    momentum: Tensor


@dataclass(frozen=True)
class Mifgsm(Stepping):
    """The momentum iterative method, from the image itself.

    Attributes:
        decay: share of the momentum that a step keeps.
    """

    name: ClassVar[str] = "mifgsm"
    path: ClassVar[float] = 1.0
    decay: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.decay < math.inf, "decay", "must be at least 0 and finite", self.decay)

    def start(self, model: Oracle, fresh: Fresh, rng: Stream) -> State:
        """Start at the image, at rest."""
        return _Moving(**vars(State.at(fresh.x, fresh)), momentum=torch.zeros_like(fresh.x))

    def advance(self, model: Oracle, state: State, rng: Stream) -> State:
        """One step along the momentum, back into the ball."""
        state = cast(_Moving, state)
        answer = model.gradient(state.x, state.y)
        momentum = self.decay * state.momentum + _l1_unit(answer.gradient)
        moved = self.inside(state.x + self.lengths(state) * self.ball.steepest(momentum), state.x0, state.eps)
        return replace(self.observed(state, answer.logits, answer.loss).moved(moved), momentum=momentum)


def _l1_unit(gradient: Tensor) -> Tensor:
    size = gradient.abs().flatten(1).sum(dim=1).clamp_min(torch.finfo(gradient.dtype).tiny)
    return gradient / size[:, None, None, None]
