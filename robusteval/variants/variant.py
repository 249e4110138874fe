"""The contract of a training variant, and of those that mix inputs or fit something first."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from robusteval.core.component import Component
from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.variants.fitting import Fitting


class NotedLoss(NamedTuple):
    """The loss of a batch, a scalar, and scalars by name that the learning curves show beside it."""

    loss: Tensor
    notes: Mapping[str, Tensor]


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
    """A way to train: `loss` is the author's; the one training loop has no branch on the variant.

    Attributes:
        images_only: whether the samples must be images, not vectors.
    """

    images_only: ClassVar[bool] = False

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch, classes: int, rng: Stream) -> Tensor:
        """The training loss of a batch, a scalar; `rng` belongs to the step."""

    def loss_with_notes(self, model: nn.Module, batch: Batch, classes: int, rng: Stream) -> NotedLoss:
        """The loss with its notes."""
        return NotedLoss(self.loss(model, batch, classes, rng), {})

    def rehearse(self, model: nn.Module, batch: Batch, classes: int, rng: Stream) -> None:
        """Find out before any work what does not fit a model and a batch; `model` is not trained later."""
        self.loss(model, batch, classes, rng)

    def prepared(self, fitting: Fitting) -> "Variant":
        """What is trained with: this variant, or one that holds what had to be fitted before the first step."""
        return self


@dataclass(frozen=True)
class InputMixer(Variant):
    """A variant that changes the batch and keeps the cross-entropy: `mix` is the author's."""

    @abstractmethod
    def mix(self, batch: Batch, classes: int, rng: Stream) -> MixedBatch:
        """Mix the samples of a batch."""

    def notes(self, batch: Batch, mixed: MixedBatch) -> Mapping[str, Tensor]:
        """Scalars about the mix that the learning curves show: the author's, where there are any."""
        return {}

    def loss(self, model: nn.Module, batch: Batch, classes: int, rng: Stream) -> Tensor:
        """The weighted mean of the cross-entropies against soft labels."""
        return self.loss_with_notes(model, batch, classes, rng).loss

    def loss_with_notes(self, model: nn.Module, batch: Batch, classes: int, rng: Stream) -> NotedLoss:
        """The loss with the notes on the mix."""
        mixed = self.mix(batch, classes, rng)
        losses = functional.cross_entropy(model(mixed.x), mixed.targets, reduction="none")
        total = mixed.weights.sum() if mixed.total is None else losses.new_tensor(mixed.total)
        # Where no sample has weight, the loss is zero, and so is its gradient.
        loss = (mixed.weights * losses).sum() / total.clamp_min(torch.finfo(losses.dtype).tiny)
        return NotedLoss(loss, self.notes(batch, mixed))


@dataclass(frozen=True)
class FittedVariant(Variant):
    """A variant that fits something on the training part first: `prepared` is the author's.

    It returns the variant that holds the fitted part: a subclass of `Variant` or `InputMixer` without a `name` of its
    own, so that no spec can name it.
    """

    def rehearse(self, model: nn.Module, batch: Batch, classes: int, rng: Stream) -> None:
        """What can be known before the fit: the author's, where there is anything."""

    @abstractmethod
    def prepared(self, fitting: Fitting) -> Variant:
        """What is trained with."""

    def loss(self, model: nn.Module, batch: Batch, classes: int, rng: Stream) -> Tensor:
        """There is none before the fit."""
        raise RuntimeError(f"{self} has fitted nothing yet: train with what prepared() returns")
