"""What an attack may ask of a model: logits and input gradients, counted, in passes of steady shapes."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from robusteval.attacks.losses import Loss, cross_entropy
from robusteval.core.errors import InputError

SMALLEST, MULTIPLE = 32, 16
"""A pass has the active rows rounded up to a multiple of 16 and at least 32 (TRUST R19)."""


class Answer(NamedTuple):
    """Logits [n, k], the loss [n], and the gradient of the loss in the input [n, c, h, w] where it was asked."""

    logits: Tensor
    loss: Tensor
    gradient: Tensor


@dataclass
class Oracle:
    """A model under attack.

    Attributes:
        model: images in [0, 1] to logits, in eval mode.
        fixed: rows of every pass, for a model whose rounding depends on the shape; None where it does not.
        forwards: images passed forward so far.
        backwards: images passed backward so far.
        bad: those of them whose gradient was NaN or infinite somewhere.
    """

    model: nn.Module
    fixed: int | None = None
    forwards: int = 0
    backwards: int = 0
    bad: int = 0

    def logits(self, x: Tensor) -> Tensor:
        """Logits [n, k] of images [n, c, h, w]."""
        self.forwards += len(x)
        with torch.no_grad():
            answer: Tensor = self.model(padded(x, self.fixed))
        return answer[: len(x)]

    def gradient(self, x: Tensor, y: Tensor, loss: Loss = cross_entropy) -> Answer:
        """Logits, loss and the input gradient of the loss, each sample for itself; 0 where it is no number."""
        self.forwards += len(x)
        self.backwards += len(x)
        rows = padded(x, self.fixed).detach().requires_grad_(True)
        with torch.enable_grad():
            logits = self.model(rows)
            losses = loss(logits[: len(x)], y)
            gradient = _gradient(losses.sum(), rows)[: len(x)].contiguous()
        if bad := int((~gradient.isfinite()).flatten(1).any(dim=1).sum()):
            self.bad += bad
            gradient = gradient.nan_to_num(0, 0, 0)
        return Answer(logits[: len(x)].detach(), losses.detach(), gradient)


def _gradient(total: Tensor, rows: Tensor) -> Tensor:
    """Zeros where the model cuts the graph, as one that quantises its input does."""
    if not total.requires_grad:
        return torch.zeros_like(rows)
    (gradient,) = torch.autograd.grad(total, rows, materialize_grads=True)
    return gradient


def padded(x: Tensor, fixed: int | None = None) -> Tensor:
    """Images with rows of zeros below, up to the size of a pass."""
    rows = max(SMALLEST, -(-len(x) // MULTIPLE) * MULTIPLE) if fixed is None else max(fixed, len(x))
    return x if rows == len(x) else torch.cat([x, x.new_zeros(rows - len(x), *x.shape[1:])])


def predict(model: nn.Module, x: Tensor, batch_size: int, fixed: int | None = None) -> Tensor:
    """Logits of all images, passed in order in chunks of `batch_size`."""
    oracle = Oracle(model, fixed)
    return torch.cat([oracle.logits(chunk) for chunk in torch.split(x, batch_size)])


def finite(logits: Tensor) -> Tensor:
    """Logits as they are.

    Raises:
        InputError: one is NaN or infinite.
    """
    bad = int((~torch.isfinite(logits)).any(dim=1).sum())
    if bad:
        raise InputError(f"logits: must be finite, but are NaN or infinite for {bad} of {len(logits)} images")
    return logits


def steady(model: nn.Module, x: Tensor, batch_size: int, gradient: bool = True) -> bool:
    """Whether a sample's logits, and gradient, have the same bits in the smallest and in the largest pass.

    Args:
        model: what will be attacked.
        x: some images, 32 at least or they are repeated.
        batch_size: rows of the largest pass.
        gradient: whether gradients will be asked for.
    """
    few = x[torch.arange(SMALLEST, device=x.device) % len(x)]
    rows = len(padded(x[:1].expand(max(batch_size, SMALLEST), -1, -1, -1)))
    many = few[torch.arange(rows, device=x.device) % SMALLEST]
    oracle = Oracle(model)
    if not gradient:
        return torch.equal(oracle.logits(few), oracle.logits(many)[:SMALLEST])
    y = torch.zeros(rows, dtype=torch.int64, device=x.device)
    small, large = (oracle.gradient(images, y[: len(images)]) for images in (few, many))
    return torch.equal(small.logits, large.logits[:SMALLEST]) and torch.equal(small.gradient, large.gradient[:SMALLEST])
