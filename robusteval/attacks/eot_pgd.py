"""EoT-PGD: PGD on means over passes, for models that answer at random (Athalye et al. 2018, arXiv:1802.00420).

The expectation over transformation was first taken over the weights of a Bayesian network (Liu et al. 2018,
arXiv:1810.01279). Logits, losses and gradients of a step are each the mean over the passes, and the result is judged
by the mean of the logits of as many passes. Nobody leaves before the last step: a point that looks broken may have
been lucky, and the last such point lies deeper than the first.
"""

from dataclasses import dataclass
from typing import ClassVar

from robusteval.attacks.pgd import Pgd
from robusteval.core.errors import require


@dataclass(frozen=True)
class EotPgd(Pgd):
    """Projected gradient descent on the expectation over the model's randomness.

    Attributes:
        eot: passes that each answer of the model is the mean of.
    """

    name: ClassVar[str] = "eot-pgd"

    eot: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.eot >= 1, "eot", "must be at least 1", self.eot)
