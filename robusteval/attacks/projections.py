"""The nearest point of a hyperplane within the box [0, 1], in three norms (Croce and Hein 2020, arXiv:1907.02044).

Points, weights and changes are rows [n, d]. The problem is: of all changes that raise the weighted sum of a row by
`rise` and leave it in the box, the one of least norm; where none raises it that far, the one that raises it most.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from robusteval.attacks.norms import NormName

_TINY = torch.finfo(torch.float32).tiny

Projection = Callable[[Tensor, Tensor, Tensor], Tensor]
"""The change [n, d] from points [n, d], weights [n, d] and rises [n]."""


def linf(points: Tensor, weights: Tensor, rise: Tensor) -> Tensor:
    """All entries move by one amount, or to the end of the box."""
    ones = torch.ones_like(points)
    return _signed(points, weights, rise, lambda gains, room, left: _levelled(gains, ones, room, left))


def l2(points: Tensor, weights: Tensor, rise: Tensor) -> Tensor:
    """Entries move in proportion to their weights, or to the end of the box."""
    return _signed(points, weights, rise, lambda gains, room, left: _levelled(gains, gains, room, left))


def l1(points: Tensor, weights: Tensor, rise: Tensor) -> Tensor:
    """Entries move to the end of the box, the largest weight first, until the rise is reached."""
    return _signed(points, weights, rise, _one_by_one)


PROJECTIONS: Mapping[NormName, Projection] = MappingProxyType({"linf": linf, "l2": l2, "l1": l1})


def _signed(points: Tensor, weights: Tensor, rise: Tensor, sizes: Projection) -> Tensor:
    """The change whose sizes solve the problem for weights and a rise that are not negative.

    Args:
        points: in [0, 1].
        weights: of the sum.
        rise: of the sum.
        sizes: from gains per unit in [0, 1], the room of every entry [n, d], and the rise wanted [n].
    """
    uphill = weights.sign() * torch.where(rise < 0, -1, 1)[:, None]
    largest = weights.abs().amax(dim=1).clamp_min(_TINY)
    gains = weights.abs() / largest[:, None]
    room = torch.where(uphill > 0, 1 - points, points) * (gains > 0)
    return uphill * sizes(gains, room, rise.abs() / largest)


def _levelled(gains: Tensor, speeds: Tensor, room: Tensor, left: Tensor) -> Tensor:
    """Sizes min(level * speed, room), the level being that at which gains * sizes sum to what is left.

    The sum is concave in the level, so that Newton's steps from below never pass the answer. Each fills entries, and
    one that fills none has found it: the level then depends on the full entries alone.
    """
    rates, ends, zero = gains * speeds, room / speeds.clamp_min(_TINY), gains.new_zeros(())
    filled, level = gains * room, torch.zeros_like(left)
    while True:
        full = ends <= level[:, None]
        rest = left - torch.where(full, filled, zero).sum(dim=1)
        higher = torch.maximum(level, rest / torch.where(full, zero, rates).sum(dim=1).clamp_min(_TINY))
        if not bool((higher > level).any()):
            return torch.where(full, room, level[:, None] * speeds)
        level = higher


def _one_by_one(gains: Tensor, room: Tensor, left: Tensor) -> Tensor:
    gains, order = gains.sort(dim=1, descending=True, stable=True)
    room = room.gather(1, order)
    before = (gains * room).cumsum(dim=1) - gains * room
    sizes = torch.minimum(((left[:, None] - before) / gains.clamp_min(_TINY)).clamp_min(0), room)
    return torch.zeros_like(sizes).scatter(1, order, sizes)
