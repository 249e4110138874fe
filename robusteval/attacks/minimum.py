"""What attacks that look for the nearest misclassified point share: the margin, and a last look at a ball's edge.

As in Foolbox (Rauber et al. 2020, "Foolbox Native"), a sample whose point lies outside a ball counts as broken in it if
the nearest point of the ball is misclassified too.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from robusteval.attacks.attack import CERTAIN, Goal, S, Search, State
from robusteval.attacks.losses import Loss, margin_loss
from robusteval.attacks.oracle import Oracle


@dataclass(frozen=True)
class Minimum(Search):
    """A search for the smallest change that breaks a sample, however large it is."""

    goal: ClassVar[Goal] = "distance"
    climbs: ClassVar[bool] = False

    @property
    def objective(self) -> Loss:
        """The margin loss."""
        return margin_loss

    def close(self, model: Oracle, state: State) -> State:
        """Observe the points after the last step."""
        logits = model.logits(state.x)
        return self.left(model, self.observed(state, logits, margin_loss(logits, state.y)))

    def left(self, model: Oracle, state: S) -> S:
        """The rows before they leave: `done` where they are broken, and seen at the edge of the ball next below."""
        state = replace(state, done=state.loss > -torch.inf)
        radii = torch.tensor((0.0, *self.radii), dtype=torch.float64, device=state.x.device)
        smaller = radii[torch.searchsorted(self.ball.slack(radii[1:]), -state.loss)]
        rows = (state.done & (smaller > 0)).nonzero()[:, 0]
        if len(rows) == 0:
            return state
        drawn = state.rows(rows)
        drawn = replace(drawn, x=self.inside(drawn.best, drawn.x0, smaller[rows]))
        logits = model.logits(drawn.x)
        drawn = self.observed(drawn, logits, margin_loss(logits, drawn.y))
        return replace(
            state, best=state.best.index_copy(0, rows, drawn.best), loss=state.loss.index_copy(0, rows, drawn.loss)
        )


def beyond(logits: Tensor) -> Tensor:
    """How far another class must lead the label to be certain of it, with something to spare, [n] float64."""
    return 2 * CERTAIN * logits.abs().amax(dim=1).to(torch.float64)
