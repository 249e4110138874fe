"""The bare optimisation loop: gradient descent on any loss; data sets and variants are unknown here."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from robusteval.core.errors import CheckpointError, require

T = TypeVar("T")
Schedule = Literal["one-cycle", "cosine", "step", "constant"]
Method = Literal["sgd", "adam"]


@dataclass(frozen=True)
class Settings:
    """How to descend.

    Attributes:
        epochs: passes over the batches.
        steps_per_epoch: batches of one pass, which the schedule is laid out by.
        lr: the highest learning rate.
        method: stochastic gradient descent with momentum, or Adam (Kingma and Ba, 2015, arXiv:1412.6980).
        momentum: of stochastic gradient descent.
        weight_decay: on weights; biases and the scales of normalisation, which are 1-d, have none.
        nesterov: look ahead (needs momentum).
        ema: the result is the average of the weights over the steps, each step's share shrinking by this factor with
            every later one; None is the last weights.
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
    method: Method = "sgd"
    ema: float | None = None
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
        require(self.ema is None or 0 < self.ema < 1, "ema", "must be in (0, 1)", self.ema)
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


class State:
    """All that the loop carries from step to step: a training goes on from it as if it had never stopped.

    Attributes:
        model: what descends.
        optimiser: with its momenta.
        average: the running average of the model, where the settings ask for one.
        epoch: passes done.
        step: steps done.
    """

    def __init__(self, model: nn.Module, settings: Settings) -> None:
        self.model = model
        self.optimiser = optimiser(model, settings)
        averaging = None if settings.ema is None else get_ema_multi_avg_fn(settings.ema)  # type: ignore[no-untyped-call]
        self.average = averaging and AveragedModel(model, multi_avg_fn=averaging, use_buffers=True)
        self.epoch = self.step = 0

    @property
    def result(self) -> nn.Module:
        """The model that the training is for."""
        return self.model if self.average is None else self.average.module

    def captured(self) -> dict[str, Any]:
        """The state as tensors and numbers; the tensors are the live ones."""
        average = None if self.average is None else self.average.state_dict()
        model, descent = self.model.state_dict(), self.optimiser.state_dict()
        return {"model": model, "optimiser": descent, "average": average, "epoch": self.epoch, "step": self.step}

    def restore(self, captured: Mapping[str, Any]) -> None:
        """Go back to a captured state, which must come from the same model and settings."""
        self.model.load_state_dict(captured["model"])
        self.optimiser.load_state_dict(captured["optimiser"])
        if self.average is not None:
            self.average.load_state_dict(captured["average"])
        self.epoch, self.step = captured["epoch"], captured["step"]


class Epoch(NamedTuple):
    """What one pass came to: its number from 0, its mean loss, the last learning rate, the steps so far."""

    number: int
    loss: float
    lr: float
    steps: int


def fit(
    state: State | nn.Module,
    batches: Callable[[int], Iterable[T]],
    loss: Callable[[nn.Module, T], Tensor],
    settings: Settings,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> None:
    """Train a model in place and leave it in eval mode, with the averaged weights where they were asked for.

    Args:
        state: the model whose trainable parameters descend, or the state of a training to go on with.
        batches: the batches of an epoch, by its number.
        loss: a scalar to make small.
        settings: how.
        on_epoch: called after every epoch; the model is in eval mode then.

    Raises:
        CheckpointError: the loss is no longer a finite number.
    """
    state = State(state, settings) if isinstance(state, nn.Module) else state
    model = state.model
    for number in range(state.epoch, settings.epochs):
        model.train()
        losses = [advance(state, loss(model, batch), settings) for batch in batches(number)]
        model.eval()
        state.epoch += 1
        if on_epoch is not None:
            lr = settings.rate(max(0, state.step - 1))
            on_epoch(Epoch(number, math.fsum(losses) / max(1, len(losses)), lr, state.step))
    model.eval()
    if state.average is not None:
        model.load_state_dict(state.average.module.state_dict())


def optimiser(model: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """The optimiser, with weight decay on all but 1-d parameters."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in trainable if parameter.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [parameter for parameter in trainable if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
    if settings.method == "adam":
        return torch.optim.Adam(groups, lr=settings.lr)
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
    if state.average is not None:
        state.average.update_parameters(state.model)
    return value
