"""The contract of a training variant, and of those that mix inputs."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from robusteval.core.component import Component
from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.data import Split


class MixedBatch(NamedTuple):
    """Images `x` [n, c, h, w], soft labels `targets` [n, k] whose rows sum to 1, weights `weights` [n].

    The weighted losses are divided by `total`, which is the sum of the weights where it is None.
    """

    x: Tensor
    targets: Tensor
    weights: Tensor
    total: float | None = None


@dataclass(frozen=True)
class Variant(Component):
    """A way to train: `loss` is the author's; the one training loop has no branch on it."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch, classes: int, rng: Stream) -> Tensor:
        """The training loss of a batch, a scalar; `rng` belongs to the step."""

    def prepared(self, train: Split, seed: int) -> Self:
        """This variant with whatever it must fit on the training split before the first step."""
        return self


@dataclass(frozen=True)
class InputMixer(Variant):
    """A variant that changes the batch and keeps the cross-entropy: `mix` is the author's."""

    @abstractmethod
    def mix(self, batch: Batch, classes: int, rng: Stream) -> MixedBatch:
        """Mix the samples of a batch."""

    def loss(self, model: nn.Module, batch: Batch, classes: int, rng: Stream) -> Tensor:
        """The weighted mean of the cross-entropies against soft labels."""
        mixed = self.mix(batch, classes, rng)
        losses = functional.cross_entropy(model(mixed.x), mixed.targets, reduction="none")
        total = mixed.weights.sum() if mixed.total is None else losses.new_tensor(mixed.total)
        # Where no sample has weight, the loss is zero, and so is its gradient.
        return (mixed.weights * losses).sum() / total.clamp_min(torch.finfo(losses.dtype).tiny)
