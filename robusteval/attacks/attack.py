"""The contract of an attack, and the state of the samples it works on."""

import math
from abc import abstractmethod
from dataclasses import dataclass, fields, replace
from typing import ClassVar, Literal, Self, TypeVar

import torch
from torch import Tensor

from robusteval.attacks.losses import Loss, cross_entropy, margin
from robusteval.attacks.norms import NORMS, Norm, NormName
from robusteval.attacks.oracle import Oracle
from robusteval.core.component import Component
from robusteval.core.errors import require
from robusteval.core.rng import Stream

Goal = Literal["break", "loss"]
Grade = Literal["A", "B", "quick", "C"]

CERTAIN = 1e-4
"""A sample leaves as broken when its margin is below this share of its largest logit: beyond rounding."""


@dataclass
class State:
    """The active samples, one row each; an attack may add tensors of its own in a subclass.

    Attributes:
        x0: clean images [n, c, h, w].
        y: labels [n].
        ids: sample ids [n].
        entry: which restart each row is [n].
        x: where each sample is now.
        best: the strongest point so far, by the attack's goal.
        loss: the loss at `best`, infinite where the model is wrong there and the goal is to break it [n] float64.
        reached: the iteration of `best` [n].
        done: whether a point was broken beyond rounding [n].
        iteration: steps taken [n].
    """

    x0: Tensor
    y: Tensor
    ids: Tensor
    entry: Tensor
    x: Tensor
    best: Tensor
    loss: Tensor
    reached: Tensor
    done: Tensor
    iteration: Tensor

    @classmethod
    def at(cls, x: Tensor, x0: Tensor, y: Tensor, ids: Tensor, entry: int) -> Self:
        """Fresh rows at `x`."""
        count = torch.zeros_like(ids)
        loss = torch.full(ids.shape, -torch.inf, dtype=torch.float64, device=x.device)
        return cls(x0, y, ids, count + entry, x, x0, loss, count, torch.zeros_like(ids, dtype=torch.bool), count)

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, chosen: Tensor) -> Self:
        """The chosen rows."""
        return replace(self, **{field.name: getattr(self, field.name)[chosen] for field in fields(self)})

    def joined(self, other: Self) -> Self:
        """These rows, then the other's."""
        names = [field.name for field in fields(self)]
        return replace(self, **{name: torch.cat([getattr(self, name), getattr(other, name)]) for name in names})

    def moved(self, x: Tensor) -> Self:
        """One iteration on, at `x`."""
        return replace(self, x=x, iteration=self.iteration + 1)


S = TypeVar("S", bound=State)


@dataclass(frozen=True)
class Attack(Component):
    """Something that looks for misclassified points near samples, run by `drive`: a `Search` or a `Cascade`.

    Attributes:
        norms: those it works in.
        eps: radius of the ball in pixel units of [0, 1].
        norm: whose ball it is.
    """

    norms: ClassVar[tuple[NormName, ...]] = ("linf", "l2")

    eps: float
    norm: NormName = "linf"

    def __post_init__(self) -> None:
        require(0 <= self.eps < math.inf, "eps", "must be at least 0 and finite", self.eps)
        limit = "must be at most 1 for linf: images are in [0, 1], so write eps=8/255, not eps=8"
        require(self.norm != "linf" or self.eps <= 1, "eps", limit, self.eps)
        require(self.norm in self.norms, "norm", f"{self.name} works in {' and '.join(self.norms)} only", self.norm)

    @property
    def ball(self) -> Norm:
        """The norm as a value."""
        return NORMS[self.norm]

    @property
    def grade(self) -> Grade:
        """How far the result may be trusted without a flag (TRUST R14)."""
        return "quick"

    @property
    @abstractmethod
    def searches(self) -> "tuple[Search, ...]":
        """What is run: each search on the samples that those before it left."""


@dataclass(frozen=True)
class Cascade(Attack):
    """Searches one after another: `searches` is the author's. The result is the worst case of each sample."""


@dataclass(frozen=True)
class Search(Attack):
    """One loop from sample to sample: `start` and `advance` are the author's.

    Attributes:
        goal: `break`: a sample leaves as soon as it is broken, and what is wrong from the start is never attacked;
            `loss`: everyone stays until the budget is spent, for adversarial training.
        white_box: whether it uses gradients.
        climbs: whether each step goes up the loss, so that one that still rises at the end means too few steps.
    """

    goal: ClassVar[Goal] = "break"
    white_box: ClassVar[bool] = True
    climbs: ClassVar[bool] = True

    @property
    def searches(self) -> "tuple[Search, ...]":
        """This one."""
        return (self,)

    @property
    @abstractmethod
    def budget(self) -> int:
        """Iterations of one start."""

    @property
    def entries(self) -> int:
        """Starts per sample."""
        return 1

    @property
    def objective(self) -> Loss:
        """What the attack raises, [n] from logits and labels."""
        return cross_entropy

    @abstractmethod
    def start(self, model: Oracle, x: Tensor, y: Tensor, ids: Tensor, rng: Stream, entry: int) -> State:
        """Fresh rows for correctly classified images x [n, c, h, w]."""

    @abstractmethod
    def advance(self, model: Oracle, state: State, rng: Stream) -> State:
        """One iteration of every row: observe the present points, then move."""

    def observed(self, state: S, logits: Tensor, loss: Tensor) -> S:
        """Remember the present points that are better than any before.

        To break: broken beyond rounding, then wrong at all, then of higher loss; the first such point stays, so that
        more steps never leave more robust (TRUST R10).
        """
        lead = margin(logits, state.y)
        broken = lead < -CERTAIN * logits.abs().amax(dim=1)
        better = loss > state.loss
        if self.goal == "break":
            loss = torch.where(lead < 0, torch.inf, loss)
            better = ~state.done & (broken | (loss > state.loss))
        return replace(
            state,
            best=torch.where(better[:, None, None, None], state.x, state.best),
            loss=torch.where(better, loss, state.loss),
            reached=torch.where(better, state.iteration, state.reached),
            done=state.done | broken,
        )

    def close(self, model: Oracle, state: State) -> State:
        """Observe the points after the last step."""
        logits = model.logits(state.x)
        return self.observed(state, logits, self.objective(logits, state.y))

    def inside(self, x: Tensor, x0: Tensor) -> Tensor:
        """The point nearest to x in the ball around x0, cut to [0, 1]."""
        return self.landed(self.ball.project(x - x0, self.eps), x0)

    def landed(self, delta: Tensor, x0: Tensor) -> Tensor:
        """The image x0 + delta, cut to [0, 1]; sums round towards x0, never out of the ball."""
        moved = (x0 + delta).clamp(0, 1)
        return torch.where((moved - x0).abs() > delta.abs(), torch.nextafter(moved, x0), moved)
