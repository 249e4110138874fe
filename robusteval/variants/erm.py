"""ERM: empirical risk minimisation, plain cross-entropy on the samples (Vapnik 1991)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.variants.variant import Variant


@dataclass(frozen=True)
class Erm(Variant):
    """The baseline of every comparison."""

    name: ClassVar[str] = "erm"

    def loss(self, model: nn.Module, batch: Batch, classes: int, rng: Stream) -> Tensor:
        """The mean cross-entropy."""
        return functional.cross_entropy(model(batch.x), batch.y)
