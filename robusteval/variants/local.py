"""Local mixup: pairs whose ends are far apart count less (Baena et al. 2022, arXiv:2201.04368)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from robusteval.core.errors import require
from robusteval.core.matching import squared_distances
from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.variants.mixing import mixed, one_share, random_partner, together, unmixed
from robusteval.variants.variant import InputMixer, MixedBatch


@dataclass(frozen=True)
class Local(InputMixer):
    """Input mixup whose loss is weighted by the Euclidean distance of the ends, in pixel units of [0, 1].

    Attributes:
        alpha: of Beta(alpha, alpha).
        weight: `threshold`: 1 up to `radius`, else 0; `exponential`: exp(-rate d); `neighbours`: 1 where one end is
            among the `neighbours` nearest samples of the other within the batch, else 0.
        radius: of `threshold`, in pixel units; None is the batch's median pair distance.
        rate: of `exponential`, per pixel unit; None is one over the batch's median pair distance.
        neighbours: of `neighbours`.
        normaliser: divide the weighted losses by the sum of the weights, or by the size of the batch.
        self_pairs: add every clean sample as a pair with itself, of weight 1: with radius 0 this is ERM.
    """

    name: ClassVar[str] = "local"

    alpha: float = 1.0
    weight: Literal["threshold", "exponential", "neighbours"] = "threshold"
    radius: float | None = None
    rate: float | None = None
    neighbours: int = 10
    normaliser: Literal["weights", "batch"] = "weights"
    self_pairs: bool = False

    def __post_init__(self) -> None:
        require(self.alpha > 0, "alpha", "must be above 0; erm is the variant without mixing", self.alpha)
        require(self.radius is None or self.radius >= 0, "radius", "must be at least 0", self.radius)
        require(self.rate is None or self.rate >= 0, "rate", "must be at least 0", self.rate)
        require(self.neighbours >= 1, "neighbours", "must be at least 1", self.neighbours)

    def mix(self, batch: Batch, classes: int, rng: Stream) -> MixedBatch:
        """Mix every sample with its partner and weigh the pair."""
        partner = random_partner(batch, rng)
        pairs = mixed(batch, classes, partner, one_share(batch, self.alpha, rng))
        pairs = pairs._replace(weights=self.weights(batch.x, partner))
        if self.self_pairs:
            himself = partner == torch.arange(len(partner), device=partner.device)
            pairs = pairs._replace(weights=pairs.weights.masked_fill(himself, 0))
            pairs = together(pairs, unmixed(batch, classes))
        return pairs if self.normaliser == "weights" else pairs._replace(total=float(len(batch.ids)))

    def notes(self, batch: Batch, mixed: MixedBatch) -> Mapping[str, Tensor]:
        """The mean weight of the pairs: near 1 the variant is mixup."""
        return {"weight": mixed.weights[: len(batch.ids)].mean()}

    def weights(self, x: Tensor, partner: Tensor) -> Tensor:
        """The weight of each pair (sample, partner), [n]; lambda does not enter."""
        distances = squared_distances(x, x).sqrt()
        pair = distances.gather(1, partner[:, None])[:, 0]
        median = distances[~torch.eye(len(x), dtype=torch.bool, device=x.device)].median()
        if self.weight == "exponential":
            return torch.exp(-pair * (1 / median if self.rate is None else self.rate)).to(x.dtype)
        if self.weight == "threshold":
            return (pair <= (median if self.radius is None else self.radius)).to(x.dtype)
        rank = distances.argsort(dim=1, stable=True).argsort(dim=1)
        forth = rank.gather(1, partner[:, None])[:, 0]
        back = rank[partner, torch.arange(len(x), device=x.device)]
        return (torch.minimum(forth, back) <= self.neighbours).to(x.dtype)
