"""CutMix: a box of the partner pasted in, labels mixed by area (Yun et al. 2019, arXiv:1905.04899)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from robusteval.core.errors import require
from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.variants.mixing import check_alpha, mixed, one_share, random_partner, unmixed
from robusteval.variants.variant import InputMixer, MixedBatch


@dataclass(frozen=True)
class Cutmix(InputMixer):
    """One box per batch: sides sqrt(1 - lambda) of the image, uniform centre, clipped; lambda follows the clipped area.

    Attributes:
        alpha: of Beta(alpha, alpha).
        probability: of a batch to be cut; the paper's is 0.5 on CIFAR and 1 on ImageNet.
    """

    name: ClassVar[str] = "cutmix"
    images_only: ClassVar[bool] = True

    alpha: float = 1.0
    probability: float = 0.5

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        require(0 <= self.probability <= 1, "probability", "must be in [0, 1]", self.probability)

    def mix(self, batch: Batch, classes: int, rng: Stream) -> MixedBatch:
        """Paste the partner's box, or leave the batch as it is."""
        x, partner = batch.x, random_partner(batch, rng)
        step = batch.ids.new_zeros(1)
        cut, vertical, horizontal = rng.stream("box").uniform(step, (3,), dtype=torch.float64)[0].tolist()
        if cut >= self.probability:
            return unmixed(batch, classes)
        side = math.sqrt(1 - float(one_share(batch, self.alpha, rng)))
        top, bottom = _edges(vertical, side, x.shape[2])
        left, right = _edges(horizontal, side, x.shape[3])
        pasted = x.clone()
        pasted[:, :, top:bottom, left:right] = x[partner, :, top:bottom, left:right]
        kept = 1 - (bottom - top) * (right - left) / (x.shape[2] * x.shape[3])
        return mixed(batch, classes, partner, x.new_full((1,), kept))._replace(x=pasted)


def _edges(centre: float, side: float, pixels: int) -> tuple[int, int]:
    """First and one past the last pixel of a box along one axis, clipped to the image."""
    middle, half = int(centre * pixels), int(side * pixels) // 2
    return max(0, middle - half), min(pixels, middle + half)
