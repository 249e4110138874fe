"""A norm is a value: how to measure, project, ascend and draw in it. Tensors are [n, c, h, w], eps in pixel units."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor

from robusteval.core.rng import Stream

NormName = Literal["linf", "l2", "l1"]


@dataclass(frozen=True)
class Norm:
    """One norm.

    Attributes:
        size: the norm of each perturbation, [n].
        project: the nearest perturbation within eps [n].
        steepest: the direction of unit norm along which a linear function rises most.
        draw: a uniform draw from the ball of radius 1.
        slack: rounding allowed when a perturbation is checked against eps (TRUST R3).
        dual: the name of the norm that a gradient's size is in, where changes are measured in this one.
    """

    size: Callable[[Tensor], Tensor]
    project: Callable[[Tensor, Tensor], Tensor]
    steepest: Callable[[Tensor], Tensor]
    draw: Callable[[Stream, Tensor, torch.Size, Tensor], Tensor]
    slack: Callable[[Tensor], Tensor]
    dual: NormName


def column(values: Tensor) -> Tensor:
    """One value per image [n] as [n, 1, 1, 1], to stand beside images."""
    return values[:, None, None, None]


def _linf_draw(rng: Stream, ids: Tensor, shape: torch.Size, draw: Tensor) -> Tensor:
    return rng.uniform(ids, shape, draw).mul(2).sub(1)


def _l2_size(delta: Tensor) -> Tensor:
    size: Tensor = torch.linalg.vector_norm(delta.flatten(1), dim=1)
    return size


def _l2_unit(delta: Tensor) -> Tensor:
    # The largest entry first: squares of entries below 1e-19 vanish in float32.
    scaled = delta / delta.abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min(torch.finfo(delta.dtype).tiny)
    return scaled / _l2_size(scaled).clamp_min(1e-12)[:, None, None, None]


def _linf_project(delta: Tensor, eps: Tensor) -> Tensor:
    limit = column(eps.to(delta.dtype))
    return delta.clamp(-limit, limit)


def _l2_project(delta: Tensor, eps: Tensor) -> Tensor:
    size, eps = _l2_size(delta), eps.to(delta.dtype)
    factor = torch.where(size > eps, eps / size.clamp_min(torch.finfo(delta.dtype).tiny), torch.ones_like(size))
    return delta * column(factor)


def _l2_draw(rng: Stream, ids: Tensor, shape: torch.Size, draw: Tensor) -> Tensor:
    # In float64: float32 powers differ in the last bit between the body and the tail of a vector.
    radius = rng.stream("radius").uniform(ids, (), draw, torch.float64) ** (1 / shape.numel())
    return _l2_unit(rng.normal(ids, shape, draw)) * radius.to(torch.float32)[:, None, None, None]


def _l1_size(delta: Tensor) -> Tensor:
    return delta.abs().flatten(1).sum(dim=1)


def _l1_project(delta: Tensor, eps: Tensor) -> Tensor:
    return _shrunk(delta, delta.abs(), eps)


def l1_project_in_box(delta: Tensor, x0: Tensor, eps: Tensor) -> Tensor:
    """The nearest perturbation of x0 within eps in L1 and within the box [0, 1] at once, [n, c, h, w].

    Cutting the L1 projection to the box would stay far inside the ball (Croce and Hein 2021, arXiv:2103.01208).
    """
    return _shrunk(delta, torch.where(delta > 0, 1 - x0, x0), eps)


def _shrunk(delta: Tensor, cap: Tensor, eps: Tensor) -> Tensor:
    """Every entry moved towards 0 by one amount, then cut to its cap, so that absolute values sum to eps at most.

    That is the projection (Duchi et al. 2008, "Efficient projections onto the l1-ball"). As the amount grows, an entry
    shrinks while the amount is between its excess over the cap and its size: the sum is linear between these ends.
    """
    size, eps = delta.flatten(1).abs().to(torch.float64), eps.to(torch.float64)[:, None]
    cap = torch.minimum(size, cap.flatten(1))
    ends, order = torch.cat([size - cap, size], dim=1).sort(dim=1)
    shrinking = torch.where(order < size.shape[1], 1, -1).cumsum(dim=1)
    total = cap.sum(dim=1, keepdim=True).expand_as(ends).clone()
    total[:, 1:] -= (shrinking[:, :-1] * ends.diff(dim=1)).cumsum(dim=1)
    last = ((total >= eps).sum(dim=1, keepdim=True) - 1).clamp_min(0)
    excess = (total.gather(1, last) - eps) / shrinking.gather(1, last).clamp_min(1)
    amount = torch.where(total[:, :1] > eps, ends.gather(1, last) + excess, 0.0)
    shrunk = torch.minimum((size - amount).clamp_min(0), cap).reshape(delta.shape)
    return delta.sign() * shrunk.to(delta.dtype)


def sparse(gradient: Tensor, share: Tensor) -> Tensor:
    """The direction of unit L1 norm that moves the largest entries by one amount, [n, c, h, w].

    Args:
        gradient: [n, c, h, w].
        share: of each row's entries that move, [n] in [0, 1]; one moves at least.
    """
    sizes = gradient.abs().flatten(1)
    rank = ((1 - share) * sizes.shape[1]).long().clamp(0, sizes.shape[1] - 1)
    least = sizes.sort(dim=1).values.gather(1, rank[:, None])
    signs = gradient.sign() * (sizes >= least).reshape(gradient.shape)
    return signs / _l1_size(signs).clamp_min(1)[:, None, None, None]


def inward(gradient: Tensor, x: Tensor) -> Tensor:
    """The gradient without the entries that push pixels at an end of the box [0, 1] out of it."""
    return gradient.masked_fill(((x >= 1) & (gradient > 0)) | ((x <= 0) & (gradient < 0)), 0)


def _l1_draw(rng: Stream, ids: Tensor, shape: torch.Size, draw: Tensor) -> Tensor:
    # Exponential sizes over their sum and one more are uniform in the simplex; float64 hides the last bit, as above.
    uniform = rng.uniform(ids, shape, draw, torch.float64).mul(2).sub(1)
    sizes = -(-uniform.abs()).clamp_min(2.0**-53 - 1).log1p()
    more = -(-rng.stream("more").uniform(ids, (), draw, torch.float64)).log1p()
    total = sizes.flatten(1).sum(dim=1) + more
    return (uniform.sign() * sizes / total[:, None, None, None]).to(torch.float32)


NORMS: Mapping[NormName, Norm] = MappingProxyType(
    {
        "linf": Norm(
            size=lambda delta: delta.abs().flatten(1).amax(dim=1),
            project=_linf_project,
            steepest=torch.sign,
            draw=_linf_draw,
            slack=lambda eps: eps + 1e-7,
            dual="l1",
        ),
        "l2": Norm(
            size=_l2_size,
            project=_l2_project,
            steepest=_l2_unit,
            draw=_l2_draw,
            slack=lambda eps: eps * (1 + 1e-5) + 1e-12,
            dual="l2",
        ),
        "l1": Norm(
            size=_l1_size,
            project=_l1_project,
            steepest=lambda gradient: sparse(gradient, gradient.new_zeros(len(gradient))),
            draw=_l1_draw,
            slack=lambda eps: eps * (1 + 1e-5) + 1e-12,
            dual="linf",
        ),
    }
)
