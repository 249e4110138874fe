"""What attacks raise: functions of logits [n, k] and labels [n] that give one number per row, [n] float64."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Loss = Callable[[Tensor, Tensor], Tensor]
LossName = Literal["ce", "margin", "dlr"]

_TINY = 1e-12


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """The cross-entropy of each row, [n] float64: in float32 its gradient loses a label that leads by 16 or more."""
    return functional.cross_entropy(logits.to(torch.float64), y, reduction="none")


def in_logits(loss: Tensor) -> Tensor:
    """How far the other classes together lead, in logits, from cross-entropies in float64: log(exp(loss) - 1)."""
    return torch.where(loss > 30, loss, loss.clamp_max(30).expm1().log())


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """The logit of the label minus the largest other logit, [n]; negative where the model is wrong."""
    others = logits.scatter(1, y[:, None], -torch.inf)
    return logits.gather(1, y[:, None])[:, 0] - others.amax(dim=1)


def margin_loss(logits: Tensor, y: Tensor) -> Tensor:
    """The largest other logit minus the label's, [n] float64 (Carlini and Wagner 2017, arXiv:1608.04644)."""
    return -margin(logits.to(torch.float64), y)


def dlr(logits: Tensor, y: Tensor) -> Tensor:
    """The difference of logits ratio, [n] float64: the margin loss over the span of the three largest logits.

    It changes neither with the scale nor with the shift of the logits (Croce and Hein 2020, arXiv:2003.01690). Below 3
    classes there is no third logit, and this is the margin loss.
    """
    if logits.shape[1] < 3:
        return margin_loss(logits, y)
    top = logits.to(torch.float64).topk(3, dim=1).values
    return margin_loss(logits, y) / (top[:, 0] - top[:, 2] + _TINY)


def targeted_dlr(logits: Tensor, aim: Tensor) -> Tensor:
    """The lead of a target class over the label, over a span of the four largest logits, [n] float64 (same paper).

    Below 4 classes there is no fourth logit, and this is the margin loss against any class.

    Args:
        logits: [n, k].
        aim: the label and the target of each row, [n, 2].
    """
    if logits.shape[1] < 4:
        return margin_loss(logits, aim[:, 0])
    logits = logits.to(torch.float64)
    label, target = logits.gather(1, aim).unbind(dim=1)
    top = logits.topk(4, dim=1).values
    return (target - label) / (top[:, 0] - (top[:, 2] + top[:, 3]) / 2 + _TINY)


def ranked(logits: Tensor, y: Tensor) -> Tensor:
    """The classes of each row by their logits, the largest first and the label last, [n, k]."""
    return logits.scatter(1, y[:, None], -torch.inf).argsort(dim=1, descending=True, stable=True)


LOSSES: Mapping[LossName, Loss] = MappingProxyType({"ce": cross_entropy, "margin": margin_loss, "dlr": dlr})
