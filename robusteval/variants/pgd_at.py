"""PGD-AT: cross-entropy on PGD's adversarial examples (Madry et al. 2018, arXiv:1706.06083)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.variants.adversarial import AdversarialTraining, Ascent, adversarial


@dataclass(frozen=True)
class PgdAt(AdversarialTraining):
    """Adversarial training from random starts in the ball.

    The paper trains on the last iterate; this is the one of highest loss, the last included, so never a weaker one.
    """

    name: ClassVar[str] = "pgd-at"

    def loss(self, model: nn.Module, batch: Batch, classes: int, rng: Stream) -> Tensor:
        """The mean cross-entropy on the adversarial batch."""
        attack = Ascent(self.eps, steps=self.steps, step=self.step)
        return functional.cross_entropy(model(adversarial(attack, model, batch, classes, rng)), batch.y)
