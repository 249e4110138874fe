"""Input mixup: convex combinations of random pairs and of their labels (Zhang et al. 2018, arXiv:1710.09412)."""

from dataclasses import dataclass
from typing import ClassVar

from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.variants.mixing import check_alpha, mixed, one_share, own_shares, random_partner
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
        check_alpha(self.alpha)

    def mix(self, batch: Batch, classes: int, rng: Stream) -> MixedBatch:
        """Mix every sample with its partner; lambda is the share of the sample itself."""
        draw = own_shares if self.per_sample else one_share
        return mixed(batch, classes, random_partner(batch, rng), draw(batch, self.alpha, rng))
