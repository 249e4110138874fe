"""Slices of the loss: along filter-normalised directions in weight space, along two directions in image space.

A random direction in weight space has each filter scaled to the length of the model's own filter, which takes out what
rescaling layers against each other would change (Li et al. 2018, arXiv:1712.09913).
"""

import copy
from collections.abc import Iterable, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robusteval.attacks.losses import cross_entropy
from robusteval.attacks.oracle import Oracle, finite, predict
from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.models.hessian import Vector
from robusteval.probes.probe import Subject


class Scores(NamedTuple):
    """The cross-entropy of each sample in nats, [n] float64, and whether it is classified correctly, [n] bool."""

    loss: Tensor
    correct: Tensor


def scores(model: nn.Module, batch: Batch, rows: int, fixed: int | None = None) -> Scores:
    """What a model makes of a batch, in passes of at most `rows` images."""
    logits = finite(predict(model, batch.x, rows, fixed))
    return Scores(cross_entropy(logits, batch.y), logits.argmax(dim=1) == batch.y)


def random_direction(model: nn.Module, rng: Stream) -> Vector:
    """A normal direction in weight space, filter by filter as long as the model's weights; 0 for biases and norms."""
    drawn = []
    for number, weight in enumerate(model.parameters()):
        filters = torch.arange(len(weight) if weight.dim() else 0, device=weight.device)
        noise = rng.stream(number).normal(filters, weight.shape[1:]) if weight.dim() > 1 else torch.zeros_like(weight)
        drawn.append(noise.to(weight.dtype))
    return filter_normalised(tuple(drawn), tuple(weight.detach() for weight in model.parameters()))


def filter_normalised(direction: Vector, weights: Vector) -> Vector:
    """A direction whose every filter, the slice [i, ...] of a weight tensor, is as long as the weights' own.

    Tensors of one dimension, biases and the scales of norms, get 0, as in the paper.
    """
    return tuple(
        _as_long(part, weight) if weight.dim() > 1 else torch.zeros_like(weight)
        for part, weight in zip(direction, weights, strict=True)
    )


def _as_long(part: Tensor, weight: Tensor) -> Tensor:
    wanted, present = (
        torch.linalg.vector_norm(tensor.flatten(1).to(torch.float64), dim=1) for tensor in (weight, part)
    )
    factor = torch.where(present > 0, wanted / present, 0.0)
    return part * factor.to(part.dtype).reshape(-1, *[1] * (part.dim() - 1))


def moved(model: nn.Module, *steps: tuple[float, Vector]) -> nn.Module:
    """A copy of a model whose parameters are moved by amounts of directions; statistics of batch norms stay."""
    with torch.no_grad():  # or the copied parameters of a TorchScript module would be results, not leaves
        other = copy.deepcopy(model)
        for amount, direction in steps:
            for weight, part in zip(other.parameters(), direction, strict=True):
                weight.add_(part, alpha=amount)
    return other


def weight_grid(
    model: nn.Module,
    batch: Batch,
    directions: Sequence[Vector],
    along: Sequence[float],
    rows: int = 128,
    fixed: int | None = None,
) -> pd.DataFrame:
    """Loss and accuracy of a batch on a grid of points around a model in weight space.

    Args:
        model: the middle of the grid.
        batch: n samples.
        directions: one or two, as of `random_direction`.
        along: coordinates, in lengths of a direction.
        rows: of a pass at most.
        fixed: rows of every pass, where the model needs that.

    Returns:
        A row for each point: coordinates `a` (and `b`), mean `loss` in nats, `accuracy`, `n`.
    """
    points = list(product(along, repeat=len(directions)))
    models = (moved(model, *zip(point, directions, strict=True)) for point in points)
    return _grid(points, (scores(other, batch, rows, fixed) for other in models))


def input_grid(subject: Subject, rng: Stream, along: Sequence[float], eps: float) -> pd.DataFrame:
    """Mean loss and accuracy of a shard whose every image is moved by a * u + b * v (arXiv:1811.09716).

    u is the sign of the image's own loss gradient and v a random sign of each pixel, both times eps; images are not cut
    to [0, 1], where the surface would get folds. The same columns as those of `weight_grid`.

    Args:
        subject: what is measured.
        rng: of v.
        along: coordinates, in units of eps.
        eps: in pixel units.
    """
    batch, rows = subject.batch, subject.passes.batch_size
    slope = steepest(subject.oracle, batch, rows)
    other = rng.stream("signs").integers(batch.ids, batch.x.shape[1:], 0, 2).mul(2).sub(1).to(batch.x.dtype)
    points = list(product(along, repeat=2))
    shifted = (batch._replace(x=batch.x + eps * (a * slope + b * other)) for a, b in points)
    return _grid(points, (scores(subject.form, there, rows, subject.passes.fixed) for there in shifted))


def steepest(oracle: Oracle, batch: Batch, rows: int) -> Tensor:
    """The sign of the loss gradient of each image, [n, c, h, w]."""
    parts = zip(torch.split(batch.x, rows), torch.split(batch.y, rows), strict=True)
    return torch.cat([oracle.gradient(x, y).gradient.sign() for x, y in parts])


def pooled(grids: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """One grid of the same points over all samples, from those of disjoint shards."""
    counts = np.array([grid["n"].iloc[0] for grid in grids], dtype=np.float64)
    means = {name: _weighted([grid[name].to_numpy() for grid in grids], counts) for name in ("loss", "accuracy")}
    return grids[0].assign(**means, n=int(counts.sum()))


def _weighted(values: Sequence[NDArray[np.float64]], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = np.average(np.stack(values), axis=0, weights=counts)
    return mean


def _grid(points: Sequence[tuple[float, ...]], found: Iterable[Scores]) -> pd.DataFrame:
    names = ["a", "b"][: len(points[0])]
    rows = [(*point, *_means(score), len(score.loss)) for point, score in zip(points, found, strict=True)]
    return pd.DataFrame(rows, columns=[*names, "loss", "accuracy", "n"])


def _means(score: Scores) -> tuple[float, float]:
    return float(score.loss.mean()), float(score.correct.to(torch.float64).mean())
