"""The bare optimisation loop: stochastic gradient descent on any loss; data sets and variants are unknown here."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from robusteval.core.errors import CheckpointError, require

T = TypeVar("T")
Schedule = Literal["one-cycle", "cosine", "step", "constant"]


@dataclass(frozen=True)
class Settings:
    """How to descend.

    Attributes:
        epochs: passes over the batches.
        steps_per_epoch: batches of one pass, which the schedule is laid out by.
        lr: the highest learning rate.
        momentum: of stochastic gradient descent.
        weight_decay: on weights; biases and the scales of normalisation, which are 1-d, have none.
        nesterov: look ahead (needs momentum).
        schedule: after the warm-up the rate falls to zero in a line (`one-cycle`, Smith and Topin, 2018,
            arXiv:1708.07120) or half a `cosine`, is divided by ten at each milestone (`step`), or stays (`constant`).
        warmup: share of all steps in which the rate rises from zero in a line.
        milestones: shares of all steps.
    """

    epochs: int
    steps_per_epoch: int
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    nesterov: bool = True
    schedule: Schedule = "one-cycle"
    warmup: float = 0.25
    milestones: tuple[float, ...] = (0.5, 0.75)

    def __post_init__(self) -> None:
        for argument in ("epochs", "steps_per_epoch"):
            require(getattr(self, argument) >= 1, argument, "must be at least 1", getattr(self, argument))
        require(0 < self.lr < math.inf, "lr", "must be above 0", self.lr)
        require(0 <= self.momentum < 1, "momentum", "must be in [0, 1)", self.momentum)
        require(self.momentum > 0 or not self.nesterov, "nesterov", "needs a momentum above 0", self.nesterov)
        require(self.weight_decay >= 0, "weight_decay", "must not be negative", self.weight_decay)
        require(0 <= self.warmup < 1, "warmup", "must be in [0, 1)", self.warmup)
        require(all(0 < share < 1 for share in self.milestones), "milestones", "must be in (0, 1)", self.milestones)

    @property
    def steps(self) -> int:
        """Steps in all epochs."""
        return self.epochs * self.steps_per_epoch

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        share = (step + 1) / (self.steps + 1)
        if share < self.warmup:
            return self.lr * share / self.warmup
        left = max(0.0, (1 - share) / (1 - self.warmup))
        match self.schedule:
            case "one-cycle":
                return self.lr * left
            case "cosine":
                return self.lr * (1 - math.cos(math.pi * left)) / 2
            case "step":
                return self.lr * 0.1 ** sum(share >= milestone for milestone in self.milestones)
            case "constant":
                return self.lr


@dataclass
class State:
    """All that the loop carries from step to step beside the model."""

    optimiser: torch.optim.Optimizer
    step: int = 0


class Epoch(NamedTuple):
    """What one pass came to: its number from 0, its mean loss, the last learning rate, the steps so far."""

    number: int
    loss: float
    lr: float
    steps: int


def fit(
    model: nn.Module,
    batches: Callable[[int], Iterable[T]],
    loss: Callable[[nn.Module, T], Tensor],
    settings: Settings,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> None:
    """Train a model in place and leave it in eval mode.

    Args:
        model: whose trainable parameters descend.
        batches: the batches of an epoch, by its number.
        loss: a scalar to make small.
        settings: how.
        on_epoch: called after every epoch.

    Raises:
        CheckpointError: the loss is no longer a finite number.
    """
    state = State(optimiser(model, settings))
    for number in range(settings.epochs):
        model.train()
        losses = [advance(state, loss(model, batch), settings) for batch in batches(number)]
        if on_epoch is not None:
            lr = settings.rate(max(0, state.step - 1))
            on_epoch(Epoch(number, math.fsum(losses) / max(1, len(losses)), lr, state.step))
    model.eval()


def optimiser(model: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """Stochastic gradient descent with weight decay on all but 1-d parameters."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in trainable if parameter.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [parameter for parameter in trainable if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum, nesterov=settings.nesterov)


def advance(state: State, loss: Tensor, settings: Settings) -> float:
    """Take one step against the gradient of `loss`; its value."""
    value = loss.item()
    if not math.isfinite(value):
        raise CheckpointError(f"training diverged at step {state.step}: loss is {value}; lower lr={settings.lr:g}")
    for group in state.optimiser.param_groups:
        group["lr"] = settings.rate(state.step)
    state.optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    state.optimiser.step()
    state.step += 1
    return value
