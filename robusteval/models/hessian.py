"""Curvature of the loss in a model's parameters: products with the Hessian, top eigenvalues, trace.

Products are exact, by differentiating twice (Pearlmutter 1994, "Fast exact multiplication by the Hessian"); the trace
is Hutchinson's 1990 estimate. Both are used on networks as in PyHessian (Yao et al. 2020, arXiv:1912.07145).
"""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from robusteval.core.errors import require
from robusteval.core.rng import Stream

Vector = tuple[Tensor, ...]
"""A point or direction in parameter space: one tensor for each of `model.parameters()`, in their order."""

_NOTHING = 1e-30
"""A vector this short is taken for 0: its inverse length is not of float32."""


class Eigenpairs(NamedTuple):
    """The largest eigenvalues, falling, their eigenvectors of length 1, and how many products that took."""

    values: list[float]
    vectors: list[Vector]
    products: int


@dataclass(frozen=True)
class LossSurface:
    """The mean cross-entropy over a batch as a function of the parameters, in nats; made by `of`.

    Attributes:
        model: a private copy, in eval mode, all of whose parameters are differentiated.
        x: images [n, c, h, w].
        y: labels [n].
        rows: images of a pass at most; sums over passes are in float64.
    """

    model: nn.Module
    x: Tensor
    y: Tensor
    rows: int = 128

    @classmethod
    def of(cls, model: nn.Module, x: Tensor, y: Tensor, rows: int = 128) -> Self:
        """The surface around a model, which stays as it is.

        Raises:
            InputError: it has no parameters.
        """
        with torch.no_grad():
            own = copy.deepcopy(model).eval()
        weights = list(own.parameters())
        require(bool(weights), "model", "must have parameters, to have a curvature in them", type(model).__name__)
        for weight in weights:
            weight.requires_grad_(True)
        return cls(own, x, y, rows)

    @property
    def point(self) -> list[nn.Parameter]:
        """Where the model stands."""
        return list(self.model.parameters())

    def gradient(self) -> Vector:
        """The gradient of the mean loss."""
        return self._summed(lambda loss: torch.autograd.grad(loss, self.point, materialize_grads=True))

    def product(self, vector: Vector) -> Vector:
        """The Hessian times a vector."""
        return self._summed(lambda loss: _second(loss, self.point, vector, create_graph=False))

    def forms(self, vector: Vector) -> Tensor:
        """V'Hv for the Hessian H of each sample's own loss, [n] float64; their mean is v'Hv for that of the mean loss.

        It is d2/dt2 of the sample's loss at theta + t v. The weighted sum of losses is differentiated twice along v,
        and its derivative in the weights tells the samples apart.
        """
        parts = []
        for x, y in self._passes():
            weights = torch.ones(len(x), dtype=torch.float64, device=x.device, requires_grad=True)
            with torch.enable_grad():
                loss = (weights * self._losses(x, y)).sum()
                form = _dot(_second(loss, self.point, vector, create_graph=True), vector)
                parts.append(_one(form, weights))
        return torch.cat(parts)

    def _summed(self, ask: Callable[[Tensor], Sequence[Tensor]]) -> Vector:
        """What is asked of the loss of each pass, summed."""
        total: list[Tensor] = []
        for x, y in self._passes():
            with torch.enable_grad():
                part = [value.detach().to(torch.float64) for value in ask(self._losses(x, y).sum() / len(self.x))]
            total = [a + b for a, b in zip(total, part, strict=True)] if total else part
        return tuple(value.to(weight.dtype) for value, weight in zip(total, self.point, strict=True))

    def _passes(self) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(torch.split(self.x, self.rows), torch.split(self.y, self.rows), strict=True)

    def _losses(self, x: Tensor, y: Tensor) -> Tensor:
        return functional.cross_entropy(self.model(x).to(torch.float64), y, reduction="none")


def top_eigenvalues(
    surface: LossSurface, rng: Stream, count: int = 1, iterations: int = 30, tolerance: float = 1e-3
) -> Eigenpairs:
    """The algebraically largest eigenvalues, by power iteration from random vectors.

    Those found are projected out. Power iteration goes to the eigenvalue of largest size: where that is negative, the
    spectrum is moved by it and the search repeated, which needs the products twice.

    Args:
        surface: whose Hessian.
        rng: of the starts.
        count: how many.
        iterations: products of a search at most.
        tolerance: a search ends when the value changes by less than this share of itself.
    """
    found = Eigenpairs([], [], 0)
    for number in range(count):
        start = _gaussian(surface, rng.stream(number))
        value, vector, used = _power(surface, start, found.vectors, 0.0, iterations, tolerance)
        if value < 0:
            value, vector, more = _power(surface, start, found.vectors, value, iterations, tolerance)
            used += more
        found = Eigenpairs([*found.values, value], [*found.vectors, vector], found.products + used)
    return found


def trace_forms(surface: LossSurface, rng: Stream, draws: int) -> Tensor:
    """Each sample's share of the trace, [n] float64: the mean of z'Hz over vectors z of random signs."""
    return torch.stack([surface.forms(_signs(surface, rng.stream(draw))) for draw in range(draws)]).mean(dim=0)


def length(vector: Vector) -> float:
    """The Euclidean length."""
    return math.sqrt(float(_dot(vector, vector)))


def unit(vector: Vector) -> Vector:
    """The vector at length 1; 0 where it is 0."""
    size = length(vector)
    return scaled(vector, 1 / size if size > _NOTHING else 0.0)


def scaled(vector: Vector, factor: float) -> Vector:
    """The vector times a number."""
    return tuple(factor * value for value in vector)


def _power(
    surface: LossSurface, start: Vector, known: Sequence[Vector], shift: float, most: int, tolerance: float
) -> tuple[float, Vector, int]:
    """The Rayleigh quotient, its vector and the products used, for H - shift; the quotient is that of H."""
    vector, value = unit(_without(start, known)), float("inf")
    for used in range(1, most + 1):
        image = surface.product(vector)
        before, value = value, float(_dot(vector, image))
        if shift:
            image = tuple(a - shift * b for a, b in zip(image, vector, strict=True))
        image = _without(image, known)
        if abs(value - before) <= tolerance * abs(value) or used == most or length(image) == 0:
            break
        vector = unit(image)
    return value, vector, used


def _second(loss: Tensor, point: Sequence[Tensor], vector: Vector, create_graph: bool) -> Vector:
    """The Hessian of a loss times a vector; zeros where the loss does not bend."""
    slope = torch.autograd.grad(loss, point, create_graph=True, materialize_grads=True)
    bent = [(a, b) for a, b in zip(slope, vector, strict=True) if a.requires_grad]
    if not bent:
        return tuple(torch.zeros_like(weight) for weight in point)
    outputs, along = zip(*bent, strict=True)
    return torch.autograd.grad(outputs, point, along, create_graph=create_graph, materialize_grads=True)


def _one(value: Tensor, weights: Tensor) -> Tensor:
    if not value.requires_grad:
        return torch.zeros_like(weights)
    (slope,) = torch.autograd.grad(value, weights, materialize_grads=True)
    return slope


def _dot(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    products = [(x.to(torch.float64) * y.to(torch.float64)).sum() for x, y in zip(a, b, strict=True)]
    return torch.stack(products).sum()


def _without(vector: Vector, known: Sequence[Vector]) -> Vector:
    for other in known:
        share = float(_dot(vector, other))
        vector = tuple(a - share * b for a, b in zip(vector, other, strict=True))
    return vector


def _gaussian(surface: LossSurface, rng: Stream) -> Vector:
    """A normal vector; parameters are numbered, as samples are elsewhere."""
    draws = enumerate(surface.point)
    return tuple(rng.normal(_id(number, weight), weight.shape)[0].to(weight.dtype) for number, weight in draws)


def _signs(surface: LossSurface, rng: Stream) -> Vector:
    draws = enumerate(surface.point)
    return tuple(
        rng.integers(_id(number, weight), weight.shape, 0, 2)[0].mul(2).sub(1).to(weight.dtype)
        for number, weight in draws
    )


def _id(number: int, weight: Tensor) -> Tensor:
    return torch.tensor([number], device=weight.device)
