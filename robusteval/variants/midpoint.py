"""Midpoint mixup: the middle of random pairs, in inputs and labels (Chidambaram et al. 2023, arXiv:2210.13512)."""

from dataclasses import dataclass
from typing import ClassVar

from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.variants.mixing import mixed, random_partner
from robusteval.variants.variant import InputMixer, MixedBatch


@dataclass(frozen=True)
class Midpoint(InputMixer):
    """Mixup with lambda fixed at 1/2, the limit of Beta(alpha, alpha) for large alpha."""

    name: ClassVar[str] = "midpoint"

    def mix(self, batch: Batch, classes: int, rng: Stream) -> MixedBatch:
        """The middle of every sample and its partner."""
        return mixed(batch, classes, random_partner(batch, rng), batch.x.new_full((1,), 0.5))
