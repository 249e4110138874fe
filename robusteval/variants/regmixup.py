"""RegMixup: mixup as a regulariser beside the clean samples (Pinto et al. 2022, arXiv:2206.14502)."""

from dataclasses import dataclass
from typing import ClassVar

from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.variants.mixing import check_alpha, mixed, one_share, random_partner, together, unmixed
from robusteval.variants.variant import InputMixer, MixedBatch


@dataclass(frozen=True)
class Regmixup(InputMixer):
    """Clean and mixed samples in one pass, each half of the loss; batch normalisation sees both together.

    Attributes:
        alpha: of Beta(alpha, alpha); the paper's is 20 on CIFAR-10 and 10 on CIFAR-100.
    """

    name: ClassVar[str] = "regmixup"

    alpha: float = 20.0

    def __post_init__(self) -> None:
        check_alpha(self.alpha)

    def mix(self, batch: Batch, classes: int, rng: Stream) -> MixedBatch:
        """The clean batch, then the mixed one."""
        pairs = mixed(batch, classes, random_partner(batch, rng), one_share(batch, self.alpha, rng))
        return together(unmixed(batch, classes), pairs)
