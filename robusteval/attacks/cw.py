"""The L2 attack of Carlini and Wagner (2017, arXiv:1608.04644): Adam on size and margin, weighed by a sought constant.

An image is (tanh(w) + 1) / 2. Adam lowers its squared distance from the clean image plus the constant times how far
the label still leads. The constant grows tenfold until the sample breaks and is halved in between afterwards; each
begins again at the image. A constant is left early where a tenth of its steps, and 100 at least, has not lowered the
sample's own lowest loss; the authors compare the first with the last of these steps, which a swing of Adam's decides.
"""

import math
from dataclasses import dataclass, fields, replace
from typing import ClassVar, cast

import torch
from torch import Tensor

from robusteval.attacks.attack import Fresh, S, State, certain
from robusteval.attacks.minimum import Minimum
from robusteval.attacks.norms import NormName, column
from robusteval.attacks.oracle import Answer, Oracle
from robusteval.core.errors import require
from robusteval.core.rng import Stream

_BETAS, _TINY = (0.9, 0.999), 1e-8
"""Adam's own (Kingma and Ba 2015, arXiv:1412.6980)."""
_INSIDE = 0.999999
"""Pixels of 0 and 1 are moved inside by this factor, as by the authors: their w would be infinite."""
_PROGRESS = 0.9999
"""A loss is lower where it is below this share of the one before."""
_PATIENCE = 100
"""Steps between two checks at least: Adam's first ones raise the loss."""
_MANY, _LARGEST = 10, 1e10
"""The last of so many constants or more is the smallest that broke the sample, at most this, as by the authors."""


@dataclass
class _Weighed(State):
    """Rows that descend, each with a constant and an optimiser of its own.

    Attributes:
        w: the present points before the tanh.
        mean: Adam's first moment.
        square: its second.
        constant: weight of the label's lead [n] float64.
        low: the largest constant that broke nothing [n] float64.
        high: the smallest that broke the sample [n] float64.
        search: constants tried before [n].
        step: steps taken with this one [n].
        found: whether it broke the sample [n].
        lowest: the lowest loss with it [n] float64.
        checked: that at the last check [n] float64.
    """

    w: Tensor
    mean: Tensor
    square: Tensor
    constant: Tensor
    low: Tensor
    high: Tensor
    search: Tensor
    step: Tensor
    found: Tensor
    lowest: Tensor
    checked: Tensor

    @classmethod
    def begun(cls, state: State, constant: Tensor) -> "_Weighed":
        """Rows at the image, before the first step with a constant."""
        w, zero, highest = _raw(state.x0), torch.zeros_like(state.x0), torch.full_like(state.loss, torch.inf)
        return cls(
            **{**{field.name: getattr(state, field.name) for field in fields(State)}, "x": _image(w)},
            w=w,
            mean=zero,
            square=zero,
            constant=constant,
            low=torch.zeros_like(state.loss),
            high=highest,
            search=torch.zeros_like(state.ids),
            step=torch.zeros_like(state.ids),
            found=torch.zeros_like(state.done),
            lowest=highest,
            checked=highest,
        )


@dataclass(frozen=True)
class Cw(Minimum):
    """Carlini and Wagner's attack in L2.

    Attributes:
        binary_search_steps: constants tried.
        steps: iterations with each, at most; the paper has 10,000.
        lr: Adam's step size, in units before the tanh.
        initial_const: the first constant.
        confidence: lead in logits that another class must have for a point to count.
    """

    name: ClassVar[str] = "cw"
    norms: ClassVar[tuple[NormName, ...]] = ("l2",)

    norm: NormName = "l2"
    binary_search_steps: int = 9
    steps: int = 1000
    lr: float = 0.01
    initial_const: float = 0.001
    confidence: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("binary_search_steps", "steps"):
            require(getattr(self, field) >= 1, field, "must be at least 1", getattr(self, field))
        for field in ("lr", "initial_const"):
            require(0 < getattr(self, field) < math.inf, field, "must be above 0 and finite", getattr(self, field))
        require(0 <= self.confidence < math.inf, "confidence", "must be at least 0 and finite", self.confidence)

    @property
    def budget(self) -> int:
        """The steps with all constants."""
        return self.binary_search_steps * self.steps

    def start(self, model: Oracle, fresh: Fresh, rng: Stream) -> State:
        """Start at the image."""
        return _Weighed.begun(State.at(fresh.x, fresh), torch.full_like(fresh.eps, self.initial_const))

    def advance(self, model: Oracle, state: State, rng: Stream) -> State:
        """One step of Adam, or the next constant."""
        state = cast(_Weighed, state)
        answer = model.gradient(state.x, state.y, self.objective)
        state = self.observed(state, answer.logits, answer.loss)
        loss, slope = self._loss(state, answer)
        state = replace(
            _descended(state, slope, self.lr),
            found=state.found | certain(self._raised(answer.logits, state.y), state.y),
            lowest=torch.minimum(loss, state.lowest),
        )
        return self._judged(state.moved(_image(state.w)))

    def observed(self, state: S, logits: Tensor, loss: Tensor) -> S:
        """Remember the present points that are nearer than any before and wrong by the confidence."""
        return super().observed(state, self._raised(logits, state.y), loss)

    def _raised(self, logits: Tensor, y: Tensor) -> Tensor:
        """Logits with the label's raised by the confidence: what is misclassified then, is so by that lead."""
        return logits.scatter_add(1, y[:, None], torch.full_like(logits[:, :1], self.confidence))

    def _loss(self, state: _Weighed, answer: Answer) -> tuple[Tensor, Tensor]:
        """What Adam lowers [n] float64, and its gradient in w."""
        change = state.x - _image(_raw(state.x0))
        lead = (self.confidence - answer.loss).clamp_min(0)
        weight = torch.where(lead > 0, state.constant, 0.0).to(change.dtype)
        slope = (2 * change - column(weight) * answer.gradient) * (1 - state.w.tanh() ** 2) / 2
        return change.to(torch.float64).square().sum(dim=(1, 2, 3)) + state.constant * lead, slope

    def _judged(self, state: _Weighed) -> _Weighed:
        """Rows whose steps are spent, or lower nothing any more, go on to their next constant, or leave."""
        check = (state.step - 1) % max(-(-self.steps // 10), _PATIENCE) == 0
        stalled = check & ~(state.lowest <= _PROGRESS * state.checked)
        over = stalled | (state.step >= self.steps)
        state = replace(state, checked=torch.where(check, state.lowest, state.checked))
        return self._next(state, over) if bool(over.any()) else state

    def _next(self, state: _Weighed, over: Tensor) -> _Weighed:
        """The next constant of the rows that are through with one."""
        high = torch.where(state.found, state.constant, state.high)
        low = torch.where(state.found, state.low, state.constant)
        constant = torch.where(high < torch.inf, (low + high) / 2, 10 * state.constant)
        search = state.search + 1
        if self.binary_search_steps >= _MANY:
            constant = torch.where(search == self.binary_search_steps - 1, high.clamp_max(_LARGEST), constant)
        begun = replace(_Weighed.begun(state, constant), low=low, high=high, search=search)
        state = _chosen(over, begun, state)
        spent = state.search >= self.binary_search_steps
        return replace(state, iteration=torch.where(spent, self.budget, state.iteration))


def _raw(x: Tensor) -> Tensor:
    return (_INSIDE * (2 * x - 1)).atanh()


def _image(w: Tensor) -> Tensor:
    return (w.tanh() + 1) / 2


def _descended(state: _Weighed, slope: Tensor, lr: float) -> _Weighed:
    """One step of Adam down the slope."""
    (first, second), step = _BETAS, state.step + 1
    mean = first * state.mean + (1 - first) * slope
    square = second * state.square + (1 - second) * slope**2
    share, spread = (column((1 - beta ** step.to(torch.float64)).to(slope.dtype)) for beta in _BETAS)
    w = state.w - lr * (mean / share) / ((square / spread).sqrt() + _TINY)
    return replace(state, w=w, mean=mean, square=square, step=step)


def _chosen(mask: Tensor, first: _Weighed, second: _Weighed) -> _Weighed:
    """Rows of the first where the mask says so, else of the second."""
    pairs = {field.name: (getattr(first, field.name), getattr(second, field.name)) for field in fields(_Weighed)}
    return _Weighed(
        **{name: torch.where(column(mask) if a.dim() == 4 else mask, a, b) for name, (a, b) in pairs.items()}
    )
