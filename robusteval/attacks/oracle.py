"""What an attack may ask of a model: logits and input gradients, counted, in passes of steady shapes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from robusteval.attacks.losses import Loss, cross_entropy
from robusteval.core.errors import InputError
from robusteval.core.precision import Precision, tf32

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
        eot: passes that every answer is the mean of, for a model that answers at random.
        precision: of the arithmetic inside the model.
        most: rows of a pass at most, halved whenever the device runs out of memory.
        forwards: images passed forward so far.
        backwards: images passed backward so far.
        bad: those of them whose gradient was NaN or infinite somewhere.
    """

    model: nn.Module
    fixed: int | None = None
    eot: int = 1
    precision: Precision = "float32"
    most: int | None = None
    forwards: int = 0
    backwards: int = 0
    bad: int = 0

    def logits(self, x: Tensor) -> Tensor:
        """Logits [n, k] of images [n, c, h, w]."""
        self.forwards += self.eot * len(x)
        (logits,) = self._asked(len(x), lambda rows: self._logits(x[rows]))
        return logits

    def gradient(self, x: Tensor, y: Tensor, loss: Loss = cross_entropy) -> Answer:
        """Logits, loss and the input gradient of the loss, each sample for itself; 0 where it is no number."""
        self.forwards += self.eot * len(x)
        self.backwards += self.eot * len(x)
        logits, losses, gradient = self._asked(len(x), lambda rows: self._answer(x[rows], y[rows], loss))
        gradient = self._numbers(gradient)
        return Answer(logits, losses, gradient)

    def slopes(self, x: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [n, k] and the input gradients of those of some classes [n, m], [n, m, c, h, w].

        An image is passed forward once and backward m times.
        """
        self.forwards += self.eot * len(x)
        self.backwards += self.eot * classes.numel()
        logits, gradients = self._asked(len(x), lambda rows: self._slopes(x[rows], classes[rows]))
        return logits, self._numbers(gradients)

    def _numbers(self, gradient: Tensor) -> Tensor:
        """Gradients [..., c, h, w] with 0 for what is no number; those with such entries are counted."""
        if bool(gradient.sum().isfinite()):  # a fast no
            return gradient
        self.bad += int((~gradient.isfinite()).flatten(-3).any(dim=-1).sum())
        return gradient.nan_to_num(0, 0, 0)

    def _asked(self, count: int, ask: Callable[[slice], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """The mean of the draws, for all rows at once or in as many parts as the device's memory needs."""
        while True:
            size = max(1, min(count, self.most or count))
            try:
                parts = [self._drawn(ask, slice(at, at + size)) for at in range(0, max(count, 1), size)]
            except torch.cuda.OutOfMemoryError:
                if size == 1:
                    raise
                self.most = -(-size // 2)
            else:
                return parts[0] if len(parts) == 1 else tuple(map(torch.cat, zip(*parts, strict=True)))

    def _drawn(self, ask: Callable[[slice], tuple[Tensor, ...]], rows: slice) -> tuple[Tensor, ...]:
        answers = [ask(rows) for _ in range(self.eot)]
        if self.eot == 1:
            return answers[0]
        return tuple(torch.stack(draws).mean(dim=0) for draws in zip(*answers, strict=True))

    def _logits(self, x: Tensor) -> tuple[Tensor]:
        with torch.no_grad(), tf32(self.precision == "tf32"):
            return (self._passed(self._padded(x))[: len(x)],)

    def _answer(self, x: Tensor, y: Tensor, loss: Loss) -> tuple[Tensor, ...]:
        rows = self._padded(x).detach().requires_grad_(True)
        with torch.enable_grad(), tf32(self.precision == "tf32"):
            logits = self._passed(rows)
            losses = loss(logits[: len(x)], y)
            gradient = _gradient(losses.sum(), rows)[: len(x)].contiguous()
        return logits[: len(x)].detach(), losses.detach(), gradient

    def _slopes(self, x: Tensor, classes: Tensor) -> tuple[Tensor, ...]:
        rows = self._padded(x).detach().requires_grad_(True)
        with torch.enable_grad(), tf32(self.precision == "tf32"):
            logits = self._passed(rows)[: len(x)]
            chosen = logits.gather(1, classes)
            gradients = [_gradient(logit.sum(), rows, again=True)[: len(x)] for logit in chosen.unbind(dim=1)]
        return logits.detach(), torch.stack(gradients, dim=1)

    def _passed(self, rows: Tensor) -> Tensor:
        if self.precision != "bf16":
            logits: Tensor = self.model(rows)
            return logits
        with torch.autocast(rows.device.type, torch.bfloat16):
            coarse: Tensor = self.model(rows)
        return coarse.float()

    def _padded(self, x: Tensor) -> Tensor:
        return padded(x, self.fixed if self.fixed is None or self.most is None else min(self.fixed, self.most))


def _gradient(total: Tensor, rows: Tensor, again: bool = False) -> Tensor:
    """Zeros where the model cuts the graph, as one that quantises its input does; `again` keeps the graph."""
    if not total.requires_grad:
        return torch.zeros_like(rows)
    (gradient,) = torch.autograd.grad(total, rows, retain_graph=again, materialize_grads=True)
    return gradient


def padded(x: Tensor, fixed: int | None = None) -> Tensor:
    """Images with rows of zeros below, up to the size of a pass."""
    rows = max(SMALLEST, -(-len(x) // MULTIPLE) * MULTIPLE) if fixed is None else max(fixed, len(x))
    return x if rows == len(x) else torch.cat([x, x.new_zeros(rows - len(x), *x.shape[1:])])


def predict(model: nn.Module, x: Tensor, batch_size: int, fixed: int | None = None, eot: int = 1) -> Tensor:
    """Logits of all images, passed in order in chunks of `batch_size`; the mean of `eot` passes each."""
    oracle = Oracle(model, fixed, eot)
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


def steady(
    model: nn.Module, x: Tensor, batch_size: int, gradient: bool = True, precision: Precision = "float32"
) -> bool:
    """Whether a sample's logits, and gradient, have the same bits in the smallest and in the largest pass.

    Args:
        model: what will be attacked.
        x: some images, 32 at least or they are repeated.
        batch_size: rows of the largest pass.
        gradient: whether gradients will be asked for.
        precision: of the arithmetic inside the model.
    """
    few = x[torch.arange(SMALLEST, device=x.device) % len(x)]
    rows = len(padded(x[:1].expand(max(batch_size, SMALLEST), -1, -1, -1)))
    many = few[torch.arange(rows, device=x.device) % SMALLEST]
    oracle = Oracle(model, precision=precision)
    if not gradient:
        return torch.equal(oracle.logits(few), oracle.logits(many)[:SMALLEST])
    y = torch.zeros(rows, dtype=torch.int64, device=x.device)
    small, large = (oracle.gradient(images, y[: len(images)]) for images in (few, many))
    return torch.equal(small.logits, large.logits[:SMALLEST]) and torch.equal(small.gradient, large.gradient[:SMALLEST])
