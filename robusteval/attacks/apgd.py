"""Auto-PGD: gradient ascent that sets its own step size (Croce and Hein 2020, arXiv:2003.01690; L1: arXiv:2103.01208).

In L-inf and L2 a step keeps a quarter of the step before. At checkpoints the step size is halved, and the search goes
back to its highest point, where too few steps raised the loss, or where nothing improved since a checkpoint that
halved nothing. In L1 a step moves the pixels with the largest gradients by one amount; at checkpoints their number
follows that of the pixels changed at the highest point, and where these have become fewer the search goes back there
with the full step.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor

from robusteval.attacks.attack import Fresh, Grade, Search, State
from robusteval.attacks.losses import LOSSES, Loss, ranked, targeted_dlr
from robusteval.attacks.norms import NORMS, NormName, column, l1_project_in_box, sparse
from robusteval.attacks.oracle import Answer, Oracle
from robusteval.core.errors import require
from robusteval.core.rng import Stream

_NEW = 0.75
"""The weight of the new step; the rest is the step before's."""
_RISING = 0.75
"""The share of the steps since the last checkpoint that must raise the loss for the step size to stay."""
_FIRST_SHARE = 0.2
"""The share of the pixels that the first steps in L1 move."""


@dataclass
class _Climb(State):
    """Rows that climb with step sizes of their own.

    Attributes:
        aim: labels [n], or labels and targets [n, 2].
        old: where each sample was before its last step.
        peak: the point of the highest loss.
        slope: the gradient at `peak`.
        height: the loss at `peak` [n] float64.
        now: the loss at the point before this one [n] float64.
        step: the step size in pixel units [n].
        rises: steps since the last checkpoint that raised the loss [n].
        before: `height` at the last checkpoint [n] float64.
        halved: whether the last checkpoint halved the step size [n].
        share: of the pixels, how many a step in L1 moves [n] float64.
        changed: pixels changed at the last checkpoint's peak [n].
    """

    aim: Tensor
    old: Tensor
    peak: Tensor
    slope: Tensor
    height: Tensor
    now: Tensor
    step: Tensor
    rises: Tensor
    before: Tensor
    halved: Tensor
    share: Tensor
    changed: Tensor

    @classmethod
    def begun(cls, state: State, aim: Tensor, step: Tensor) -> "_Climb":
        """Rows before their first step; as if `halved`, so that the first checkpoint looks at the rises only."""
        lowest, count = torch.full_like(state.loss, -torch.inf), state.iteration
        return cls(
            **vars(state),
            aim=aim,
            old=state.x,
            peak=state.x,
            slope=torch.zeros_like(state.x),
            height=lowest,
            now=-lowest,
            step=step.to(state.x.dtype),
            rises=count,
            before=lowest,
            halved=torch.ones_like(state.done),
            share=torch.full_like(state.loss, _FIRST_SHARE),
            changed=count + state.x[0].numel(),
        )

    def seen(self, answer: Answer) -> "_Climb":
        """Remember the present points that are higher than any before, and count the rises."""
        higher = answer.loss > self.height
        return replace(
            self,
            peak=_chosen(higher, self.x, self.peak),
            slope=_chosen(higher, answer.gradient, self.slope),
            height=torch.where(higher, answer.loss, self.height),
            rises=self.rises + (answer.loss > self.now),
            now=answer.loss,
        )


@dataclass(frozen=True)
class Apgd(Search):
    """Auto-PGD; the best of all iterates, restarts and targets counts.

    Where the model has too few classes for its loss, below 3 for `dlr` and below 4 for `t`, it raises the margin of
    the nearest other class instead, untargeted: `loss_used` says so. The first step of all is compared with its start,
    as in the paper; the authors' code compares it with 0.

    Attributes:
        loss: what is raised: cross-entropy, the difference of logits ratio, or its targeted form.
        steps: iterations of one start.
        restarts: starts per sample, and per target.
        targets: classes aimed at in turn with `loss='t'`, the most likely wrong ones of the clean image; at most all.
        eot: passes that each answer of the model is the mean of, for one that answers at random (Athalye et al.
            2018, arXiv:1802.00420). With several nobody leaves before the last step, and the last point that looks
            broken counts, since the first may have been lucky.
    """

    name: ClassVar[str] = "apgd"
    norms: ClassVar[tuple[NormName, ...]] = tuple(NORMS)

    loss: Literal["ce", "dlr", "t"] = "ce"
    steps: int = 100
    restarts: int = 1
    targets: int = 9
    eot: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("steps", "restarts", "targets", "eot"):
            require(getattr(self, field) >= 1, field, "must be at least 1", getattr(self, field))

    @property
    def budget(self) -> int:
        """The steps of one start."""
        return self.steps

    @property
    def grade(self) -> Grade:
        """`B` with a loss that does not saturate and 100 steps or more (TRUST R14)."""
        return "B" if self.loss != "ce" and self.steps >= 100 else "quick"

    def entries(self, classes: int) -> int:
        """The restarts of every target."""
        return self.restarts * (min(self.targets, classes - 1) if self.loss_used(classes) == "t" else 1)

    def notes(self, classes: int) -> tuple[str, ...]:
        """Which loss was raised in place of the one that was asked for."""
        used = self.loss_used(classes)
        return () if used == self.loss else (f"{self}: raised the {used}, having {classes} classes",)

    @property
    def objective(self) -> Loss:
        """The loss that was chosen; the targeted one takes labels and targets [n, 2]."""
        return targeted_dlr if self.loss == "t" else LOSSES[self.loss]

    def loss_used(self, classes: int) -> Literal["ce", "dlr", "t", "margin"]:
        """What is raised for a model of so many classes."""
        least = {"ce": 2, "dlr": 3, "t": 4}[self.loss]
        return self.loss if classes >= least else "margin"

    def start(self, model: Oracle, fresh: Fresh, rng: Stream) -> State:
        """Start at a random point at the edge of the ball."""
        state, aim = State.at(self._scattered(fresh, rng), fresh), fresh.y
        if self.loss == "t":
            aim = torch.stack([aim, ranked(model.logits(fresh.x), aim)[:, fresh.entry // self.restarts]], dim=1)
        return _Climb.begun(state, aim, fresh.eps if self.norm == "l1" else 2 * fresh.eps)

    def advance(self, model: Oracle, state: State, rng: Stream) -> State:
        """One step up the loss, from the highest point so far where the step size was just judged too long."""
        climb = cast(_Climb, state)
        answer = model.gradient(climb.x, climb.aim, self.objective)
        climb = self.observed(climb, answer.logits, answer.loss).seen(answer)
        climb, back = self.judged(climb)
        climb = replace(climb, x=_chosen(back, climb.peak, climb.x))
        moved = self._stepped(climb, _chosen(back, climb.slope, answer.gradient))
        return replace(climb.moved(moved), old=climb.x)

    def close(self, model: Oracle, state: State) -> State:
        """Observe the points after the last step."""
        logits = model.logits(state.x)
        return self.observed(state, logits, self.objective(logits, cast(_Climb, state).aim))

    def judged(self, climb: _Climb) -> tuple[_Climb, Tensor]:
        """New step sizes where a checkpoint is reached, and which rows go back to their peak [n]."""
        window = torch.tensor(windows(self.steps, self.norm), device=climb.x.device)[climb.iteration]
        return _thinned(climb, window > 0) if self.norm == "l1" else _halved(climb, window)

    def _scattered(self, fresh: Fresh, rng: Stream) -> Tensor:
        x, _, ids, eps, entry = fresh
        # A stream for each restart, so that another restart changes no other start (TRUST R10).
        target, restart = divmod(entry, self.restarts)
        rng, draw = rng.stream("restart", restart), ids.new_full(ids.shape, target)
        if self.norm == "l1":
            return self.landed(l1_project_in_box(rng.normal(ids, x.shape[1:], draw), x, eps), x)
        offset = self.ball.draw(rng, ids, x.shape[1:], draw)
        return self.inside(x + column(eps.to(x.dtype)) * offset / column(self.ball.size(offset)), x, eps)

    def _stepped(self, climb: _Climb, gradient: Tensor) -> Tensor:
        x, x0, length = climb.x, climb.x0, column(climb.step)
        if self.norm == "l1":
            delta = x + length * sparse(gradient, climb.share) - x0
            return self.landed(l1_project_in_box(delta, x0, climb.eps), x0)
        ahead = self.inside(x + length * self.ball.steepest(gradient), x0, climb.eps)
        new = column(torch.where(climb.iteration == 0, 1.0, _NEW))
        return self.inside(x + new * (ahead - x) + (1 - new) * (x - climb.old), x0, climb.eps)


def windows(steps: int, norm: NormName) -> tuple[int, ...]:
    """For each iteration the steps since the last checkpoint where it is one, and 0 elsewhere.

    In L-inf and L2 the checkpoints of 100 steps are 22, 41, 57, 70, 80, 87, 93 and 99; in L1 they are every 4 steps.
    """
    first, least, less = (0.04, 0.04, 0.0) if norm == "l1" else (0.22, 0.06, 0.03)
    window, found = max(int(first * steps), 1), [0] * steps
    at = window
    while at < steps:
        found[at] = window
        window = max(window - max(int(less * steps), 1), int(least * steps), 1)
        at += window
    return tuple(found)


def _halved(climb: _Climb, window: Tensor) -> tuple[_Climb, Tensor]:
    """The step size is halved where few steps rose, or nothing improved and the last checkpoint halved nothing."""
    due = window > 0
    halve = due & ((climb.rises <= _RISING * window) | (~climb.halved & (climb.before >= climb.height)))
    judged = replace(
        climb,
        step=torch.where(halve, climb.step / 2, climb.step),
        rises=climb.rises.masked_fill(due, 0),
        before=torch.where(due, climb.height, climb.before),
        halved=torch.where(due, halve, climb.halved),
    )
    return judged, halve


def _thinned(climb: _Climb, due: Tensor) -> tuple[_Climb, Tensor]:
    """In L1: full steps where the peak changes fewer pixels than before, shorter ones down to eps / 10 elsewhere."""
    changed = (climb.peak != climb.x0).flatten(1).sum(dim=1)
    fewer = due & (changed < 0.95 * climb.changed)
    eps = climb.eps.to(climb.step.dtype)
    shorter = torch.maximum(climb.step / 1.5, eps / 10)
    judged = replace(
        climb,
        step=torch.where(fewer, eps, torch.where(due, shorter, climb.step)),
        share=torch.where(due, changed.to(torch.float64) / climb.x0[0].numel() / 1.5, climb.share),
        changed=torch.where(due, changed, climb.changed),
    )
    return judged, fewer


def _chosen(mask: Tensor, first: Tensor, second: Tensor) -> Tensor:
    return torch.where(column(mask), first, second)
