"""The density of each class: a Gaussian, or Gaussian kernels (Silverman 1986, ISBN 0-412-24620-1).

Everything is float64 and stays in log space. Covariances are unbiased, as those of scipy and scikit-learn. A class
without samples has log density -inf everywhere.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
from torch import Tensor

from robusteval.core.errors import InputError

_COLLINEAR = 1e-12  # a direction with less of its coordinate's variance is left over by rounding


class Moments(NamedTuple):
    """Samples of each class `counts` [k] int64, `means` [k, d], `covariances` [k, d, d]; [1, d, d] where shared."""

    counts: Tensor
    means: Tensor
    covariances: Tensor


def moments(points: Tensor, labels: Tensor, classes: int, tied: bool) -> Moments:
    """The moments of points [n, d] with labels [n]; `tied` pools the covariance of all classes, within the class."""
    counts, d = torch.bincount(labels, minlength=classes), points.shape[1]
    means = points.new_zeros(classes, d, dtype=torch.float64)
    scatters = points.new_zeros(1 if tied else classes, d, d, dtype=torch.float64)
    for label in range(classes):
        own = points[labels == label].to(torch.float64)
        means[label] = own.sum(dim=0) / max(1, len(own))
        scatters[0 if tied else label] += (own - means[label]).T @ (own - means[label])
    freedom = _freedom(counts, tied).clamp_min(1)
    return Moments(counts, means, scatters / freedom[:, None, None])


@dataclass(frozen=True)
class Gaussians:
    """One Gaussian for each class.

    Attributes:
        whiteners: [k or 1, d, d]; after the product with it the class has unit covariance.
        centres: whitened means [k, d].
        peaks: log densities at the means [k].
    """

    whiteners: Tensor
    centres: Tensor
    peaks: Tensor

    @classmethod
    def of(cls, moments: Moments, shrinkage: float = 0.0) -> Self:
        """The Gaussians of these moments.

        Args:
            moments: of the classes.
            shrinkage: the share of each covariance that is replaced by the mean variance within a class, over all
                directions, times the identity; it keeps a class finite that has few samples.

        Raises:
            InputError: a covariance is singular; nothing but a larger shrinkage would help.
        """
        whiteners, peaks = _whitened(moments, shrinkage)
        centres = (whiteners @ moments.means[:, :, None])[:, :, 0]
        return cls(whiteners, centres, peaks.masked_fill(moments.counts == 0, -math.inf))

    def __call__(self, points: Tensor) -> Tensor:
        """Log densities [n, k] float64 of points [n, d]."""
        white = points.to(torch.float64) @ self.whiteners.mT
        squares = ((white - self.centres[:, None]) ** 2).sum(dim=2)
        return (self.peaks[:, None] - squares / 2).T


@dataclass(frozen=True)
class Kernels:
    """A Gaussian around each sample of a class; all samples of a class count the same.

    Attributes:
        whiteners: [k or 1, d, d]; as those of `Gaussians`.
        factors: what scales the standard deviation of the class to that of its kernels, [k].
        centres: samples of each class, whitened and over the factor, [n of the class, d].
        halves: half of their squared lengths, [n of the class].
        peaks: log densities of one kernel at its centre, less the log of their number, [k].
    """

    whiteners: Tensor
    factors: tuple[float, ...]
    centres: tuple[Tensor, ...]
    halves: tuple[Tensor, ...]
    peaks: tuple[float, ...]

    @classmethod
    def of(
        cls, points: Tensor, labels: Tensor, moments: Moments, shrinkage: float = 0.0, factor: float | None = None
    ) -> Self:
        """Kernels around points [n, d] with labels [n].

        Args:
            points: the samples.
            labels: their classes.
            moments: of the same samples.
            shrinkage: of the covariances, as of `Gaussians`.
            factor: a kernel's covariance is that of the class times its square; None is Scott's n^(-1 / (d + 4)).

        Raises:
            InputError: a covariance is singular.
        """
        whiteners, heights = _whitened(moments, shrinkage)
        counts, d = [max(1, count) for count in moments.counts.tolist()], points.shape[1]
        factors = tuple(count ** (-1 / (d + 4)) if factor is None else factor for count in counts)
        classes = enumerate(zip(whiteners.expand(len(counts), d, d), factors, strict=True))
        centres = tuple(points[labels == c].to(torch.float64) @ whitener.T / width for c, (whitener, width) in classes)
        halves = tuple((rows**2).sum(dim=1) / 2 for rows in centres)
        scales = zip(heights.expand(len(counts)).tolist(), factors, counts, strict=True)
        peaks = tuple(height - d * math.log(width) - math.log(count) for height, width, count in scales)
        return cls(whiteners, factors, centres, halves, peaks)

    def __call__(self, points: Tensor) -> Tensor:
        """Log densities [n, k] float64 of points [n, d]."""
        white = (points.to(torch.float64) @ self.whiteners.mT).expand(len(self.centres), -1, -1)
        columns = []
        for rows, width, centres, halves, peak in zip(
            white, self.factors, self.centres, self.halves, self.peaks, strict=True
        ):
            scaled = rows / width
            # |a - b|^2 / 2 = |a|^2 / 2 + |b|^2 / 2 - a.b, of which the first is the same for all centres.
            total = torch.logsumexp(torch.addmm(-halves, scaled, centres.T), dim=1)
            columns.append(peak + total - (scaled**2).sum(dim=1) / 2)
        return torch.stack(columns, dim=1)


def posterior(densities: Tensor, most: int | None = None) -> Tensor:
    """Class probabilities [n, k] from log densities [n, k], all classes being equally likely beforehand.

    Args:
        densities: log densities, one of each row finite or more.
        most: only that many classes, the likeliest, share the mass; None is all.
    """
    if most is not None:
        likeliest = densities.topk(min(most, densities.shape[1]), dim=1)
        densities = torch.full_like(densities, -math.inf).scatter(1, likeliest.indices, likeliest.values)
    return densities.softmax(dim=1)


def _freedom(counts: Tensor, tied: bool) -> Tensor:
    """Degrees of freedom of each covariance, [k or 1]."""
    freedom = (counts - 1).clamp_min(0)
    return freedom.sum(dim=0, keepdim=True) if tied else freedom


def _whitened(moments: Moments, shrinkage: float) -> tuple[Tensor, Tensor]:
    """Whitening matrices [k or 1, d, d] and the log densities at the means [k or 1], of shrunk covariances."""
    covariances = _shrunk(moments, shrinkage)
    factors, failed = torch.linalg.cholesky_ex(covariances)
    left = factors.diagonal(dim1=1, dim2=2) ** 2 <= _COLLINEAR * covariances.diagonal(dim1=1, dim2=2)
    singular = ((failed > 0) | left.any(dim=1)).nonzero()[:, 0].tolist()
    if singular:
        alone = len(covariances) == len(moments.counts)
        count = int(moments.counts[singular[0]])
        whose = f"of class {singular[0]}, which has {count} samples," if alone else "within the classes"
        rule = f"leaves the covariance {whose} singular in {covariances.shape[1]} dimensions"
        raise InputError(f"shrinkage={shrinkage!r}: {rule}; raise it, or bring samples that differ more")
    identity = torch.eye(covariances.shape[1], dtype=torch.float64, device=covariances.device)
    whiteners = torch.linalg.solve_triangular(factors, identity, upper=False)
    logs = factors.diagonal(dim1=1, dim2=2).log().sum(dim=1)
    return whiteners, -logs - len(identity) * math.log(math.tau) / 2


def _shrunk(moments: Moments, shrinkage: float) -> Tensor:
    """Covariances nearer to a sphere; a class without samples has the sphere itself."""
    counts, _, covariances = moments
    tied = len(covariances) != len(counts)
    freedom = _freedom(counts, tied)
    variances = covariances.diagonal(dim1=1, dim2=2).mean(dim=1)
    variance = (freedom * variances).sum() / freedom.sum().clamp_min(1)
    sphere = variance * torch.eye(covariances.shape[1], dtype=torch.float64, device=covariances.device)
    shrunk = torch.lerp(covariances, sphere.expand_as(covariances), shrinkage)
    return shrunk if tied else torch.where((counts == 0)[:, None, None], sphere, shrunk)
