"""Square: random search with square patches, by scores alone (Andriushchenko et al. 2020, arXiv:1912.00049)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robusteval.attacks.attack import Fresh, Search, State
from robusteval.attacks.losses import margin_loss
from robusteval.attacks.norms import column
from robusteval.attacks.oracle import Oracle
from robusteval.attacks.patches import Patch, grid, signs, squares, stripes, unit
from robusteval.core.errors import require
from robusteval.core.rng import Stream

HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Queries, of 10,000, after which the area of a patch is halved."""


@dataclass(frozen=True)
class Square(Search):
    """The square attack: a changed patch is kept where it lowers the margin; images are passed forward only.

    Attributes:
        n_queries: patches tried per sample, after the first point.
        p_init: share of the image that the first patches cover; it falls with the queries.
    """

    name: ClassVar[str] = "square"
    white_box: ClassVar[bool] = False
    climbs: ClassVar[bool] = False

    n_queries: int = 5000
    p_init: float = 0.8

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.n_queries >= 1, "n_queries", "must be at least 1", self.n_queries)
        require(0 < self.p_init <= 1, "p_init", "must be above 0 and at most 1", self.p_init)

    @property
    def budget(self) -> int:
        """The queries."""
        return self.n_queries

    def start(self, model: Oracle, fresh: Fresh, rng: Stream) -> State:
        """Start at vertical stripes, or at a grid of bumps in L2."""
        x, _, ids, eps, _ = fresh
        first = stripes(rng, ids, x.shape[1:]) if self.norm == "linf" else grid(rng, ids, x.shape[1:])
        return State.at(self.inside(x + column(eps.to(x.dtype)) * self.ball.steepest(first), x, eps), fresh)

    def advance(self, model: Oracle, state: State, rng: Stream) -> State:
        """See the present point, then change a patch of the best."""
        state = self.close(model, state)
        changed = self._recoloured if self.norm == "linf" else self._reshaped
        return state.moved(self.inside(changed(state, rng.stream("patch")), state.x0, state.eps))

    def close(self, model: Oracle, state: State) -> State:
        """See the present point; it is the best where its margin is lower."""
        logits = model.logits(state.x)
        return self.observed(state, logits, margin_loss(logits, state.y))

    def side(self, iteration: Tensor, height: int, width: int) -> Tensor:
        """The side of the patch at each iteration, in pixels [n]: odd in L2, and at least 3 where the image allows."""
        passed = (iteration.to(torch.float64) / self.n_queries * 10000).to(torch.int64)
        halvings = (passed[:, None] > torch.tensor(HALVINGS, device=passed.device)).sum(dim=1)
        side = (self.p_init * 0.5 ** halvings.to(torch.float64) * height * width).sqrt().round().to(torch.int64)
        side = side.clamp_min(1) if self.norm == "linf" else side.clamp_min(3) // 2 * 2 + 1
        return side.clamp_max(min(height, width))

    def _recoloured(self, state: State, rng: Stream) -> Tensor:
        """The best point, with a patch moved to a corner of the ball: one sign for each channel."""
        channels, height, width = state.x0.shape[1:]
        draws = rng.uniform(state.ids, (2 + channels,), state.iteration)
        patch = Patch.drawn(draws[:, :2], self.side(state.iteration, height, width), height, width)
        corner = state.x0 + column(state.eps.to(draws.dtype)) * signs(draws[:, 2:])[:, :, None, None]
        return torch.where(patch.mask[:, None], corner, state.best)

    def _reshaped(self, state: State, rng: Stream) -> Tensor:
        """The best point, with a bump added in one patch, of the norm found there, in a second patch, and unused.

        The second patch is set to zero, and the sum is scaled to the whole radius.
        """
        channels, height, width = state.x0.shape[1:]
        draws = rng.uniform(state.ids, (5 + channels,), state.iteration)
        side = self.side(state.iteration, height, width)
        first, second = (Patch.drawn(draws[:, at : at + 2], side, height, width) for at in (0, 2))
        here, there = first.mask[:, None], second.mask[:, None]
        delta = state.best - state.x0
        eps = column(state.eps.to(delta.dtype))
        unused = (eps**2 - squares(delta).sum(dim=1, keepdim=True)).clamp_min(0)
        size = (unused / channels + squares(delta * (here | there))).sqrt()
        bump = first.bump(draws[:, 4] > 0.5)[:, None] * signs(draws[:, 5:])[:, :, None, None]
        changed = torch.where(here, size * unit(bump + unit(delta * here)), delta * ~there)
        return state.x0 + eps * self.ball.steepest(changed)
