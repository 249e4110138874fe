"""Input mixup: convex combinations of random pairs and of their labels (Zhang et al. 2018, arXiv:1710.09412)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn import functional

from robusteval.core.errors import require
from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.variants.variant import InputMixer, MixedBatch


@dataclass(frozen=True)
class Mixup(InputMixer):
    """One lambda ~ Beta(alpha, alpha) per batch, partners by a random permutation of the batch.

    Attributes:
        alpha: the higher, the nearer to the middle the mixed points lie.
        per_sample: whether every pair draws its own lambda.
    """

    name: ClassVar[str] = "mixup"

    alpha: float = 1.0
    per_sample: bool = False

    def __post_init__(self) -> None:
        require(self.alpha > 0, "alpha", "must be above 0; erm is the variant without mixing", self.alpha)

    def mix(self, batch: Batch, classes: int, rng: Stream) -> MixedBatch:
        """Mix every sample with its partner; lambda is the share of the sample itself."""
        x, y, ids = batch
        step = ids.new_zeros(1)
        partner = rng.stream("partner").permutation(step, len(ids))[0]
        drawn = ids if self.per_sample else step
        share = rng.stream("lambda").beta(drawn, (), self.alpha, self.alpha).to(x.dtype)
        targets = functional.one_hot(y, classes).to(x.dtype)
        return MixedBatch(
            x=torch.lerp(x[partner], x, share[:, None, None, None]),
            targets=torch.lerp(targets[partner], targets, share[:, None]),
            weights=torch.ones_like(x[:, 0, 0, 0]),
        )
