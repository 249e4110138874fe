"""Local mixup: pairs whose ends are far apart count less (Baena et al. 2022, arXiv:2201.04368)."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from robusteval.core.errors import require
from robusteval.core.matching import squared_distances
from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.variants.fitting import Fitting
from robusteval.variants.mixing import check_alpha, mixed, one_share, random_partner, together, unmixed
from robusteval.variants.neighbours import NeighbourGraph, separation
from robusteval.variants.variant import InputMixer, MixedBatch

# From a batch and its partners [n] to the weight of each pair [n]; lambda does not enter.
Weights = Callable[[Batch, Tensor], Tensor]
_SHARE = 0.1


@dataclass(frozen=True)
class Local(InputMixer):
    """Input mixup whose loss is weighted by the Euclidean distance of the ends, in pixel units of [0, 1].

    Attributes:
        alpha: of Beta(alpha, alpha).
        weight: `threshold`: 1 up to `radius`, else 0; `exponential`: exp(-rate d); `neighbours`: 1 where one end is
            among the nearest training samples of the other, as both are before any augmentation, else 0.
        radius: of `threshold`, in pixel units; None is the batch's median pair distance.
        rate: of `exponential`, per pixel unit; None is one over the batch's median pair distance.
        neighbours: of `neighbours`, how many those are, as a share of the training samples; 1 is mixup, None is 0.1.
        normaliser: divide the weighted losses by the sum of the weights, or by the size of the batch.
        self_pairs: add every clean sample as a pair with itself, of weight 1: with radius 0 this is ERM.
    """

    name: ClassVar[str] = "local"

    alpha: float = 1.0
    weight: Literal["threshold", "exponential", "neighbours"] = "threshold"
    radius: float | None = None
    rate: float | None = None
    neighbours: float | None = None
    normaliser: Literal["weights", "batch"] = "weights"
    self_pairs: bool = False

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        require(self.radius is None or self.radius >= 0, "radius", "must be at least 0", self.radius)
        rate = self.rate is None or 0 <= self.rate < math.inf
        require(rate, "rate", "must be at least 0 and finite", self.rate)
        share = self.neighbours is None or 0 < self.neighbours <= 1
        require(share, "neighbours", "must be a share of the training samples, in (0, 1]", self.neighbours)
        for argument, weight in (("radius", "threshold"), ("rate", "exponential"), ("neighbours", "neighbours")):
            value = getattr(self, argument)
            require(value is None or self.weight == weight, argument, f"needs weight={weight!r}", value)

    def rehearse(self, model: nn.Module, batch: Batch, classes: int, rng: Stream) -> None:
        """Try the loss, unless it needs the graph."""
        if self.weight != "neighbours":
            super().rehearse(model, batch, classes, rng)

    def prepared(self, fitting: Fitting) -> InputMixer:
        """This variant, or for `neighbours` one that holds the graph of the training part."""
        if self.weight != "neighbours":
            return self
        return _Graphed(self, NeighbourGraph.of(fitting, _SHARE if self.neighbours is None else self.neighbours))

    def mix(self, batch: Batch, classes: int, rng: Stream) -> MixedBatch:
        """Mix every sample with its partner and weigh the pair by its length."""
        return self.weighed(self._weights, batch, classes, rng)

    def weighed(self, weights: Weights, batch: Batch, classes: int, rng: Stream) -> MixedBatch:
        """Mix every sample with its partner and weigh the pair."""
        partner = random_partner(batch, rng)
        pairs = mixed(batch, classes, partner, one_share(batch, self.alpha, rng))
        pairs = pairs._replace(weights=weights(batch, partner).to(batch.x.dtype))
        if self.self_pairs:
            himself = partner == torch.arange(len(partner), device=partner.device)
            pairs = pairs._replace(weights=pairs.weights.masked_fill(himself, 0))
            pairs = together(pairs, unmixed(batch, classes))
        return pairs if self.normaliser == "weights" else pairs._replace(total=float(len(batch.ids)))

    def notes(self, batch: Batch, mixed: MixedBatch) -> Mapping[str, Tensor]:
        """The mean weight of the pairs: near 1 the variant is mixup."""
        return {"weight": mixed.weights[: len(batch.ids)].mean()}

    def _weights(self, batch: Batch, partner: Tensor) -> Tensor:
        """By the length of the pair."""
        if self.weight == "neighbours":
            raise RuntimeError(f"{self} has no graph yet: train with what prepared() returns")
        x, lengths = batch.x, separation(batch.x, batch.x[partner])
        if self.weight == "exponential":
            return torch.exp(-lengths * (1 / _median(x) if self.rate is None else self.rate))
        return lengths <= (_median(x) if self.radius is None else self.radius)


@dataclass(frozen=True)
class _Graphed(InputMixer):
    """Local mixup by neighbours, with its fitted part.

    Attributes:
        settings: the variant.
        graph: of the training part.
    """

    settings: Local
    graph: NeighbourGraph

    def mix(self, batch: Batch, classes: int, rng: Stream) -> MixedBatch:
        """Mix every sample with its partner and weigh the pair by the graph."""
        return self.settings.weighed(self._weights, batch, classes, rng)

    def notes(self, batch: Batch, mixed: MixedBatch) -> Mapping[str, Tensor]:
        """Those of the variant."""
        return self.settings.notes(batch, mixed)

    def _weights(self, batch: Batch, partner: Tensor) -> Tensor:
        return self.graph.joins(batch.ids, batch.ids[partner])


def _median(x: Tensor) -> Tensor:
    """The median distance between two samples of a batch, above 0 even where most are the same."""
    apart = ~torch.eye(len(x), dtype=torch.bool, device=x.device)
    median = squared_distances(x, x).sqrt()[apart].median().nan_to_num()  # there is none for a batch of one
    return median.to(torch.float32).clamp_min(torch.finfo(torch.float32).tiny)
