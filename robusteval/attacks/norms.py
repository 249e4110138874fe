"""A norm is a value: how to measure, project, ascend and draw in it. Tensors are [n, c, h, w], eps in pixel units."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor

from robusteval.core.rng import Stream

NormName = Literal["linf", "l2"]


@dataclass(frozen=True)
class Norm:
    """One norm.

    Attributes:
        size: the norm of each perturbation, [n].
        project: the nearest perturbation within eps.
        steepest: the direction of unit norm along which a linear function rises most.
        draw: a uniform draw from the ball of radius 1.
        slack: rounding allowed when a perturbation is checked against eps (TRUST R3).
    """

    size: Callable[[Tensor], Tensor]
    project: Callable[[Tensor, float], Tensor]
    steepest: Callable[[Tensor], Tensor]
    draw: Callable[[Stream, Tensor, torch.Size, Tensor], Tensor]
    slack: Callable[[float], float]


def _linf_draw(rng: Stream, ids: Tensor, shape: torch.Size, draw: Tensor) -> Tensor:
    return rng.uniform(ids, shape, draw).mul(2).sub(1)


def _l2_size(delta: Tensor) -> Tensor:
    size: Tensor = torch.linalg.vector_norm(delta.flatten(1), dim=1)
    return size


def _l2_unit(delta: Tensor) -> Tensor:
    # The largest entry first: squares of entries below 1e-19 vanish in float32.
    scaled = delta / delta.abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min(torch.finfo(delta.dtype).tiny)
    return scaled / _l2_size(scaled).clamp_min(1e-12)[:, None, None, None]


def _l2_project(delta: Tensor, eps: float) -> Tensor:
    size = _l2_size(delta)
    factor = torch.where(size > eps, eps / size.clamp_min(torch.finfo(delta.dtype).tiny), torch.ones_like(size))
    return delta * factor[:, None, None, None]


def _l2_draw(rng: Stream, ids: Tensor, shape: torch.Size, draw: Tensor) -> Tensor:
    # In float64: float32 powers differ in the last bit between the body and the tail of a vector.
    radius = rng.stream("radius").uniform(ids, (), draw, torch.float64) ** (1 / shape.numel())
    return _l2_unit(rng.normal(ids, shape, draw)) * radius.to(torch.float32)[:, None, None, None]


NORMS: Mapping[NormName, Norm] = MappingProxyType(
    {
        "linf": Norm(
            size=lambda delta: delta.abs().flatten(1).amax(dim=1),
            project=lambda delta, eps: delta.clamp(-eps, eps),
            steepest=torch.sign,
            draw=_linf_draw,
            slack=lambda eps: eps + 1e-7,
        ),
        "l2": Norm(
            size=_l2_size,
            project=_l2_project,
            steepest=_l2_unit,
            draw=_l2_draw,
            slack=lambda eps: eps * (1 + 1e-5) + 1e-12,
        ),
    }
)
