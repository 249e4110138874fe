"""FAB: steps along the boundary to the nearest class, or one after another (Croce and Hein 2020, arXiv:1907.02044).

FAB looks for the nearest point of another class; here a sample leaves as soon as it has one in the ball, and points
outside the ball count for nothing. Where a point was misclassified the next step starts from further back; the boundary
is linearised where the point was, not there as in the authors' code: an iteration is one pass forward and one backward,
not two and one.
"""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, cast

import torch
from torch import Tensor

from robusteval.attacks.attack import Fresh, S, Search, State
from robusteval.attacks.losses import margin, margin_loss, ranked
from robusteval.attacks.norms import NORMS, NormName, column
from robusteval.attacks.oracle import Answer, Oracle
from robusteval.attacks.projections import PROJECTIONS
from robusteval.core.errors import require
from robusteval.core.rng import Stream


@dataclass
class _Aimed(State):
    """Rows with the class they are drawn to.

    Attributes:
        aim: labels and targets [n, 2], or labels and all other classes [n, k].
    """

    aim: Tensor


@dataclass(frozen=True)
class Fab(Search):
    """The fast adaptive boundary attack.

    Attributes:
        steps: iterations of one start.
        restarts: starts, per target; all but the first are at random points, half the radius away.
        targets: classes aimed at in turn, the most likely wrong ones of the clean image; at most all.
        alpha_max: largest share of the image's own projection in a step.
        eta: length of a step over the distance to the linearised boundary.
        beta: share of the distance from the image that is kept where a point was misclassified.
        targeted: whether classes are aimed at in turn. Otherwise each step looks at the boundaries to all of them and
            goes to the nearest, for a pass backward each.
    """

    name: ClassVar[str] = "fab"
    norms: ClassVar[tuple[NormName, ...]] = tuple(NORMS)
    climbs: ClassVar[bool] = False

    steps: int = 100
    restarts: int = 1
    targets: int = 9
    alpha_max: float = 0.1
    eta: float = 1.05
    beta: float = 0.9
    targeted: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("steps", "restarts", "targets"):
            require(getattr(self, field) >= 1, field, "must be at least 1", getattr(self, field))
        require(0 <= self.alpha_max <= 1, "alpha_max", "must be in [0, 1]", self.alpha_max)
        require(1 <= self.eta < math.inf, "eta", "must be at least 1 and finite", self.eta)
        require(0 < self.beta <= 1, "beta", "must be above 0 and at most 1", self.beta)

    @property
    def budget(self) -> int:
        """The steps of one start."""
        return self.steps

    def entries(self, classes: int) -> int:
        """The restarts of every target."""
        return self.restarts * (min(self.targets, classes - 1) if self.targeted else 1)

    def start(self, model: Oracle, fresh: Fresh, rng: Stream) -> State:
        """Start at the image, or at a random point half the radius away."""
        target, restart = divmod(fresh.entry, self.restarts)
        at = self._scattered(fresh, rng) if restart else fresh.x
        others = ranked(model.logits(fresh.x), fresh.y)[:, :-1]
        chosen = others[:, target : target + 1] if self.targeted else others
        return _Aimed(**vars(State.at(at, fresh)), aim=torch.cat([fresh.y[:, None], chosen], dim=1))

    def advance(self, model: Oracle, state: State, rng: Stream) -> State:
        """One step towards the linearised boundary, from further back where the point was misclassified."""
        state = cast(_Aimed, state)
        answer = model.gradient(state.x, state.aim, _lead) if self.targeted else self._nearest(model, state)
        state = self._seen(state, answer.logits)
        back = state.x0 + self.beta * (state.x - state.x0)
        x = torch.where(column(margin(answer.logits, state.y) < 0), back, state.x)
        return state.moved(self._stepped(x, state, answer))

    def close(self, model: Oracle, state: State) -> State:
        """See the points after the last step."""
        return self._seen(state, model.logits(state.x))

    def _seen(self, state: S, logits: Tensor) -> S:
        """Remember the present points, as long as they are in the ball."""
        inside = self.size(state.x, state.x0) <= self.ball.slack(state.eps)
        seen = self.observed(state, logits, margin_loss(logits, state.y))
        return replace(
            state,
            best=torch.where(column(inside), seen.best, state.best),
            loss=torch.where(inside, seen.loss, state.loss),
            reached=torch.where(inside, seen.reached, state.reached),
            done=torch.where(inside, seen.done, state.done),
        )

    def _nearest(self, model: Oracle, state: _Aimed) -> Answer:
        """The lead, with its gradient, of the class whose linearised boundary is the nearest."""
        logits, slopes = model.slopes(state.x, state.aim)
        values = logits.to(torch.float64).gather(1, state.aim)
        leads, slopes = values[:, 1:] - values[:, :1], slopes[:, 1:] - slopes[:, :1]
        steepness = NORMS[self.ball.dual].size(slopes.flatten(0, 1)).reshape(leads.shape)
        nearest = (leads.abs() / steepness.clamp_min(torch.finfo(slopes.dtype).tiny)).argmin(dim=1)
        rows = torch.arange(len(nearest), device=nearest.device)
        return Answer(logits, leads[rows, nearest], slopes[rows, nearest])

    def _stepped(self, x: Tensor, state: State, answer: Answer) -> Tensor:
        """Beyond the boundary's nearest points to x and to the image, the nearer counting more."""
        weights, project = answer.gradient.flatten(1), PROJECTIONS[self.norm]

        def change(point: Tensor) -> Tensor:
            slope = (weights * (point - state.x).flatten(1)).sum(dim=1)
            return project(point.flatten(1), weights, -answer.loss.to(x.dtype) - slope).reshape(x.shape)

        here, there = change(x), change(state.x0)
        near, far = (self.ball.size(delta).clamp_min(1e-8) for delta in (here, there))
        share = column((near / (near + far)).clamp_max(self.alpha_max))
        return ((1 - share) * (x + self.eta * here) + share * (state.x0 + self.eta * there)).clamp(0, 1)

    def _scattered(self, fresh: Fresh, rng: Stream) -> Tensor:
        x, _, ids, eps, entry = fresh
        target, restart = divmod(entry, self.restarts)
        offset = self.ball.draw(rng.stream("restart", restart), ids, x.shape[1:], ids.new_full(ids.shape, target))
        return (x + column(eps.to(x.dtype)) / 2 * offset / column(self.ball.size(offset))).clamp(0, 1)


def _lead(logits: Tensor, aim: Tensor) -> Tensor:
    """The logit of the target minus that of the label, [n] float64."""
    label, target = logits.to(torch.float64).gather(1, aim).unbind(dim=1)
    return target - label
