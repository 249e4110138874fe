"""k-mixup: interpolation between optimally matched k-batches (Greenewald et al. 2021, arXiv:2106.02933)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from scipy import optimize, special
from torch import Tensor

from robusteval.core.errors import require
from robusteval.core.matching import match_in_blocks
from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.variants.mixing import LARGEST_ALPHA, check_alpha, mixed, one_share, random_partner
from robusteval.variants.variant import InputMixer, MixedBatch


@dataclass(frozen=True)
class Kmixup(InputMixer):
    """Inputs are matched in squared Euclidean distance, labels travel with their image; one lambda per batch.

    Attributes:
        alpha: of Beta(alpha, alpha); larger k shrinks the perturbation, so a k sweep wants that of `matched_alpha`.
        k: samples matched at a time.
        pairing: `halves` cuts the batch into two disjoint halves by a random permutation, and each matched pair gives
            two mixed samples, with lambda and 1 - lambda; `same-batch` matches the batch with a permutation of itself,
            as the official code does, where a share of about k / batch of the samples meets itself.
        cost: `squared` distance as written, or the plain `distance` of the official code.
    """

    name: ClassVar[str] = "kmixup"

    alpha: float = 1.0
    k: int = 32
    pairing: Literal["halves", "same-batch"] = "halves"
    cost: Literal["squared", "distance"] = "squared"

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        require(self.k >= 1, "k", "must be at least 1", self.k)

    def mix(self, batch: Batch, classes: int, rng: Stream) -> MixedBatch:
        """Match, then mix every sample with its partner."""
        limit = len(batch.ids) // 2
        require(self.k <= limit, "k", f"must be at most half the batch, {limit}", self.k)
        share = one_share(batch, self.alpha, rng)
        order = random_partner(batch, rng)
        if self.pairing == "same-batch":
            partner = order[match_in_blocks(batch.x, batch.x[order], self.k, self.cost == "squared")]
            return mixed(batch, classes, partner, share)
        return mixed(batch, classes, self._across(batch.x, order), share)

    def notes(self, batch: Batch, mixed: MixedBatch) -> Mapping[str, Tensor]:
        """The mean squared change of an image, which shrinks with k, and the share of images that stayed the same."""
        moved = ((mixed.x - batch.x) ** 2).flatten(1).sum(dim=1)
        return {"moved": moved.mean(), "unmoved": (moved == 0).to(moved.dtype).mean()}

    def _across(self, x: Tensor, order: Tensor) -> Tensor:
        """Partners between the two halves of an order, both ways; the odd one out stays by itself."""
        half = len(order) // 2
        first, second = order[:half], order[half : 2 * half]
        matched = second[match_in_blocks(x[first], x[second], self.k, self.cost == "squared")]
        partner = torch.arange(len(order), device=order.device)
        partner[first], partner[matched] = matched, first
        return partner


def matched_alpha(alpha: float, ratio: float) -> float:
    """The alpha for k at which mixed points lie as far from the nearer end of their pair as those of k = 1 at `alpha`.

    As far in the mean square, m(alpha) D_k with m as in `squared_share`. The official code estimates it, but trains
    without it.

    Args:
        alpha: for k = 1.
        ratio: D_k / D_1, of the mean squared distances of matched pairs.

    Raises:
        InputError: no alpha makes up for the ratio, as no point lies farther than the middle.

    >>> round(matched_alpha(1.0, 0.5), 2)
    8.04
    """
    check_alpha(alpha)
    require(0 < ratio <= 1, "ratio", "must be in (0, 1]", ratio)
    wanted, most = squared_share(alpha) / ratio, squared_share(LARGEST_ALPHA)
    least = math.ceil(1e4 * squared_share(alpha) / most) / 1e4
    rule = f"must be at least {least}: no larger alpha makes up for less from alpha={alpha!r}"
    require(wanted <= most, "ratio", rule, ratio)
    return float(optimize.brentq(lambda larger: squared_share(larger) - wanted, alpha, LARGEST_ALPHA))


def squared_share(alpha: float) -> float:
    """m(alpha) = E[min(lambda, 1 - lambda)^2] for lambda ~ Beta(alpha, alpha), from 0 to 1/4.

    >>> round(squared_share(1.0), 4), round(squared_share(10.0), 4)
    (0.0833, 0.1738)
    """
    return float(special.betainc(alpha + 2, alpha, 0.5)) * (alpha + 1) / (2 * alpha + 1)
