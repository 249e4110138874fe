"""Label smoothing: an amount of the label is spread evenly over all classes (Szegedy et al. 2016, arXiv:1512.00567)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from robusteval.core.errors import require
from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.variants.variant import Variant


@dataclass(frozen=True)
class LabelSmoothing(Variant):
    """Cross-entropy against smoothed labels.

    Attributes:
        amount: the share of the label that is spread evenly.
    """

    name: ClassVar[str] = "label-smoothing"

    amount: float = 0.1

    def __post_init__(self) -> None:
        require(0 <= self.amount < 1, "amount", "must be at least 0 and below 1", self.amount)

    def loss(self, model: nn.Module, batch: Batch, classes: int, rng: Stream) -> Tensor:
        """The mean cross-entropy."""
        return functional.cross_entropy(model(batch.x), batch.y, label_smoothing=self.amount)
