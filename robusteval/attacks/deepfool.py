"""DeepFool: step after step to the nearest linearised boundary (Moosavi-Dezfooli et al. 2016, arXiv:1511.04599).

A step reaches a little past the linearised boundary, to where a class would lead beyond rounding; the authors' code
goes 1e-4 further for the same reason. The sum of all steps is stretched by the overshoot and cut to [0, 1].
"""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, cast

import torch
from torch import Tensor

from robusteval.attacks.attack import Fresh, State
from robusteval.attacks.losses import margin_loss, ranked
from robusteval.attacks.minimum import Minimum, beyond
from robusteval.attacks.norms import NORMS, column
from robusteval.attacks.oracle import Oracle
from robusteval.core.errors import require
from robusteval.core.rng import Stream


@dataclass
class _Fooled(State):
    """Rows on their way to a boundary.

    Attributes:
        classes: the label, then those whose boundaries are linearised [n, m].
        total: the sum of the steps, without overshoot [n, c, h, w].
    """

    classes: Tensor
    total: Tensor


@dataclass(frozen=True)
class Deepfool(Minimum):
    """DeepFool, which stops at the first misclassified point.

    Attributes:
        steps: iterations at most.
        overshoot: share of the sum of all steps that is added to it.
        candidates: classes of the highest logits at the image whose boundaries are linearised, the label among them;
            at most all.
    """

    name: ClassVar[str] = "deepfool"

    steps: int = 50
    overshoot: float = 0.02
    candidates: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.steps >= 1, "steps", "must be at least 1", self.steps)
        require(0 <= self.overshoot < math.inf, "overshoot", "must be at least 0 and finite", self.overshoot)
        require(self.candidates >= 2, "candidates", "must be at least 2", self.candidates)

    @property
    def budget(self) -> int:
        """The steps."""
        return self.steps

    def start(self, model: Oracle, fresh: Fresh, rng: Stream) -> State:
        """Start at the image."""
        others = ranked(model.logits(fresh.x), fresh.y)[:, :-1]
        classes = torch.cat([fresh.y[:, None], others[:, : self.candidates - 1]], dim=1)
        return _Fooled(**vars(State.at(fresh.x, fresh)), classes=classes, total=torch.zeros_like(fresh.x))

    def advance(self, model: Oracle, state: State, rng: Stream) -> State:
        """One step past the nearest linearised boundary."""
        state = cast(_Fooled, state)
        logits, gradients = model.slopes(state.x, state.classes)
        total = state.total + self._step(state, logits, gradients)
        state = self.left(model, self.observed(state, logits, margin_loss(logits, state.y)))
        return replace(state, total=total).moved((state.x0 + (1 + self.overshoot) * total).clamp(0, 1))

    def _step(self, state: _Fooled, logits: Tensor, gradients: Tensor) -> Tensor:
        """The shortest step that lets one of the classes lead, were the leads linear; none along a gradient of 0."""
        values, gradients = logits.to(torch.float64).gather(1, state.classes), gradients[:, 1:] - gradients[:, :1]
        rise = values[:, :1] - values[:, 1:] + beyond(logits)[:, None]
        slope = NORMS[self.ball.dual].size(gradients.flatten(0, 1).to(torch.float64)).reshape(rise.shape)
        distance, nearest = torch.where(slope > 0, rise.clamp_min(0) / slope, torch.inf).min(dim=1)
        across = self.ball.size(torch.ones_like(state.x0)).to(torch.float64)
        gradient = gradients[torch.arange(len(nearest), device=nearest.device), nearest]
        return column(torch.minimum(distance, across).to(gradient.dtype)) * self.ball.steepest(gradient)
