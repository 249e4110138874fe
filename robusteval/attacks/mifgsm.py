"""MI-FGSM: steps along a running sum of normalised gradients (Dong et al. 2018, arXiv:1710.06081)."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, cast

import torch
from torch import Tensor

from robusteval.attacks.attack import Search, State
from robusteval.attacks.oracle import Oracle
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
class Mifgsm(Search):
    """The momentum iterative method, from the image itself.

    Attributes:
        steps: iterations.
        step: size of one step in pixel units; eps / steps by default.
        decay: share of the momentum that a step keeps.
    """

    name: ClassVar[str] = "mifgsm"

    steps: int = 10
    step: float | None = None
    decay: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.steps >= 1, "steps", "must be at least 1", self.steps)
        require(self.step is None or 0 < self.step < math.inf, "step", "must be above 0 and finite", self.step)
        require(0 <= self.decay < math.inf, "decay", "must be at least 0 and finite", self.decay)

    @property
    def budget(self) -> int:
        """The steps."""
        return self.steps

    def start(self, model: Oracle, x: Tensor, y: Tensor, ids: Tensor, rng: Stream, entry: int) -> State:
        """Start at the image, at rest."""
        return _Moving(**vars(State.at(x, x, y, ids, entry)), momentum=torch.zeros_like(x))

    def advance(self, model: Oracle, state: State, rng: Stream) -> State:
        """One step along the momentum, back into the ball."""
        state = cast(_Moving, state)
        answer = model.gradient(state.x, state.y)
        momentum = self.decay * state.momentum + _l1_unit(answer.gradient)
        length = self.eps / self.steps if self.step is None else self.step
        moved = self.inside(state.x + length * self.ball.steepest(momentum), state.x0)
        return replace(self.observed(state, answer.logits, answer.loss).moved(moved), momentum=momentum)


def _l1_unit(gradient: Tensor) -> Tensor:
    size = gradient.abs().flatten(1).sum(dim=1).clamp_min(torch.finfo(gradient.dtype).tiny)
    return gradient / size[:, None, None, None]
