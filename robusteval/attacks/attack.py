"""The contract of an attack, and the state of the samples it works on."""

import math
from abc import abstractmethod
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import ClassVar, Literal, NamedTuple, Self, TypeVar

import torch
from torch import Tensor

from robusteval.attacks.losses import Loss, cross_entropy, margin
from robusteval.attacks.norms import NORMS, Norm, NormName, column
from robusteval.attacks.oracle import Oracle
from robusteval.core.component import Component
from robusteval.core.errors import require
from robusteval.core.rng import Stream
from robusteval.core.types import Batch

Goal = Literal["break", "distance", "loss"]
Grade = Literal["A", "B", "quick", "C"]

CERTAIN = 1e-4
"""A sample leaves as broken when its margin is below this share of its largest logit: beyond rounding."""


class Fresh(NamedTuple):
    """Samples about to be attacked.

    Attributes:
        x: clean images [n, c, h, w].
        y: labels [n].
        ids: sample ids [n].
        eps: radius of each one's ball [n] float64.
        entry: which start it is.
    """

    x: Tensor
    y: Tensor
    ids: Tensor
    eps: Tensor
    entry: int


@dataclass
class State:
    """The active samples, one row each; an attack may add tensors of its own in a subclass.

    Attributes:
        x0: clean images [n, c, h, w].
        y: labels [n].
        ids: sample ids [n].
        eps: radius of each one's ball [n] float64.
        entry: which start each row is [n].
        x: where each sample is now.
        best: the strongest point so far, by the attack's goal.
        loss: the loss at `best` [n] float64: infinite where the model is wrong there and the goal is to break it; minus
            the distance where the goal is that.
        reached: the iteration of `best` [n].
        done: whether a point was broken beyond rounding [n].
        iteration: steps taken [n].
    """

    x0: Tensor
    y: Tensor
    ids: Tensor
    eps: Tensor
    entry: Tensor
    x: Tensor
    best: Tensor
    loss: Tensor
    reached: Tensor
    done: Tensor
    iteration: Tensor

    @classmethod
    def at(cls, x: Tensor, fresh: Fresh) -> Self:
        """Fresh rows at `x`."""
        x0, y, ids, eps, entry = fresh
        count = torch.zeros_like(ids)
        loss, done = torch.full_like(eps, -torch.inf), torch.zeros_like(ids, dtype=torch.bool)
        return cls(x0, y, ids, eps, count + entry, x, x0, loss, count, done, count)

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


def certain(logits: Tensor, y: Tensor) -> Tensor:
    """Which rows are misclassified beyond rounding, [n]."""
    return margin(logits, y) < -CERTAIN * logits.abs().amax(dim=1)


@dataclass(frozen=True)
class Attack(Component):
    """Something that looks for misclassified points near samples, run by `drive`: a `Search` or a `Cascade`.

    Attributes:
        norms: those it works in.
        eps: radius of the ball in pixel units of [0, 1], or several that rise: one run then finds for each sample the
            smallest at which it breaks.
        norm: whose ball it is.
    """

    norms: ClassVar[tuple[NormName, ...]] = ("linf", "l2")

    eps: float | tuple[float, ...]
    norm: NormName = "linf"

    def __post_init__(self) -> None:
        require(len(self.radii) > 0, "eps", "must be a number or a list of them", self.eps)
        limit = "must be at most 1 for linf: images are in [0, 1], so write eps=8/255, not eps=8"
        for eps in self.radii:
            require(0 <= eps < math.inf, "eps", "must be at least 0 and finite", eps)
            require(self.norm != "linf" or eps <= 1, "eps", limit, eps)
        require(
            all(low < high for low, high in pairwise(self.radii)), "eps", "must rise from each to the next", self.eps
        )
        require(self.norm in self.norms, "norm", f"{self.name} works in {' and '.join(self.norms)} only", self.norm)

    @property
    def radii(self) -> tuple[float, ...]:
        """The radii, rising."""
        return self.eps if isinstance(self.eps, tuple) else (self.eps,)

    @property
    def radius(self) -> float:
        """The largest radius, which is the one where there is one."""
        return self.radii[-1]

    @property
    def ball(self) -> Norm:
        """The norm as a value."""
        return NORMS[self.norm]

    @property
    def grade(self) -> Grade:
        """How far the result may be trusted without a flag (TRUST R14)."""
        return "quick"

    @property
    def depends(self) -> str:
        """A digest of the files that it reads beside its spec; empty where it reads none."""
        return ""

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
            `distance`: it keeps its nearest broken point, in the ball or not, until the budget is spent;
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
    def eot(self) -> int:
        """Passes that each answer of the model is the mean of, the expectation over its randomness (TRUST R17)."""
        return 1

    def entries(self, classes: int) -> int:
        """Starts per sample, for a model of so many classes."""
        return 1

    def notes(self, classes: int) -> tuple[str, ...]:
        """What the record should say of the search for a model of so many classes."""
        return ()

    @property
    def objective(self) -> Loss:
        """What the attack raises, [n] from logits and labels."""
        return cross_entropy

    @abstractmethod
    def start(self, model: Oracle, fresh: Fresh, rng: Stream) -> State:
        """The rows of correctly classified samples at their start."""

    @abstractmethod
    def advance(self, model: Oracle, state: State, rng: Stream) -> State:
        """One iteration of every row: observe the present points, then move."""

    def observed(self, state: S, logits: Tensor, loss: Tensor) -> S:
        """Remember the present points that are better than any before.

        To break: broken beyond rounding, then wrong at all, then of higher loss; the first such point stays, so that
        more steps never leave more robust (TRUST R10). For distance: broken beyond rounding, then nearer.
        """
        lead, broken = margin(logits, state.y), certain(logits, state.y)
        if self.goal == "distance":
            loss = torch.where(broken, -self.size(state.x, state.x0), -torch.inf)
        # One lucky mean of a model that answers at random lets nobody leave: the last point that looks broken stays.
        leaves = self.goal != "distance" and self.eot == 1
        better = loss > state.loss
        if self.goal == "break":
            loss = torch.where(lead < 0, torch.inf, loss)
            better = ~state.done & (broken | (loss > state.loss))
        return replace(
            state,
            best=torch.where(column(better), state.x, state.best),
            loss=torch.where(better, loss, state.loss),
            reached=torch.where(better, state.iteration, state.reached),
            done=state.done | broken if leaves else state.done,
        )

    def close(self, model: Oracle, state: State) -> State:
        """Observe the points after the last step."""
        logits = model.logits(state.x)
        return self.observed(state, logits, self.objective(logits, state.y))

    def fresh(self, batch: Batch, entry: int = 0) -> Fresh:
        """The samples of a batch, at the largest radius."""
        return Fresh(
            *batch, torch.full(batch.ids.shape, self.radius, dtype=torch.float64, device=batch.x.device), entry
        )

    def size(self, x: Tensor, x0: Tensor) -> Tensor:
        """How far x is from x0 in the attack's norm, [n] float64."""
        return self.ball.size(x.to(torch.float64) - x0.to(torch.float64))

    def inside(self, x: Tensor, x0: Tensor, eps: Tensor) -> Tensor:
        """The point nearest to x in the ball of radius eps [n] around x0, cut to [0, 1]."""
        return self.landed(self.ball.project(x - x0, eps), x0)

    def landed(self, delta: Tensor, x0: Tensor) -> Tensor:
        """The image x0 + delta, cut to [0, 1]; sums round towards x0, never out of the ball."""
        moved = (x0 + delta).clamp(0, 1)
        return torch.where((moved - x0).abs() > delta.abs(), torch.nextafter(moved, x0), moved)
