"""Who is whose nearest neighbour in the training part: the graph of local mixup (Baena et al. 2022, arXiv:2201.04368).

No edge is stored. Two samples are joined where the distance between them is at most the larger of their radii, a radius
being the distance from a sample to the last of its nearest neighbours.
"""

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from robusteval.data import Split
from robusteval.variants.fitting import Fitting, Progress, Tensors

_ROWS = 256


@dataclass(frozen=True)
class NeighbourGraph:
    """Joins training samples of which one is among the nearest of the other, as they are before any augmentation.

    Attributes:
        train: the samples.
        order: positions of the samples by ascending id, [n] int64.
        radii: of each sample, in pixel units of [0, 1], [n] float32.
    """

    train: Split
    order: Tensor
    radii: Tensor

    @classmethod
    def of(cls, fitting: Fitting, share: float) -> Self:
        """The graph of the training part; a sample's nearest are that share of the others, and at least one."""
        train, count = fitting.train, max(1, round(share * (len(fitting.train) - 1)))

        def fitted() -> Tensors:
            return {"radii": radii(train, count, fitting.device, fitting.progress)}

        found = fitting.part("neighbour-radii", (count,), fitted)["radii"]
        images, labels, ids = (tensor.to(fitting.device) for tensor in (train.images, train.labels, train.ids))
        return cls(Split(images, labels, ids, train.classes), ids.argsort(), found.to(fitting.device))

    def joins(self, first: Tensor, second: Tensor) -> Tensor:
        """Whether the samples with ids `first` [n] and those with ids `second` [n] are neighbours, [n] bool."""
        rows, columns = self._rows(first), self._rows(second)
        distances = separation(self.train.batch(rows).x, self.train.batch(columns).x)
        return distances <= torch.maximum(self.radii[rows], self.radii[columns])

    def _rows(self, ids: Tensor) -> Tensor:
        """Positions of the samples with these ids."""
        places = torch.searchsorted(self.train.ids, ids, sorter=self.order).clamp_max(len(self.train) - 1)
        rows = self.order[places]
        if not torch.equal(self.train.ids[rows], ids):
            raise RuntimeError("the batch has samples that are not of the training part")
        return rows


@torch.no_grad()
def radii(train: Split, count: int, device: str, progress: Progress) -> Tensor:
    """The distance of each sample to the last of its `count` nearest others, [n] float32; inf where all are among them.

    Who that is comes from squared distances in float32, by a matrix product for a few rows at a time; how far he is,
    from `separation`, so that he himself is never lost to rounding.
    """
    n = len(train)
    if count >= n - 1:
        return torch.full((n,), math.inf)
    x = train.batch().x.to(device)
    points = x.flatten(1) - x.flatten(1).mean(dim=0)
    halves = (points**2).sum(dim=1) / 2
    found = []
    for start in range(0, n, _ROWS):
        # Half the squared distance less the row's own part, which does not change who is near.
        costs = torch.addmm(halves, points[start : start + _ROWS], points.T, alpha=-1)
        costs.diagonal(start).fill_(math.inf)
        last = costs.kthvalue(count, dim=1).indices
        found.append(separation(x[start : start + _ROWS], x[last]))
        progress("neighbour-radii", min(n, start + _ROWS), n)
    return torch.cat(found)


def separation(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances of rows of a to the rows of b at the same place, [n] float32, worked in float64."""
    return (a.to(torch.float64) - b).flatten(1).square().sum(dim=1).sqrt().to(torch.float32)
