"""What pair-mixing variants share: partners, shares, and the mix of inputs and labels."""

import torch
from torch import Tensor
from torch.nn import functional

from robusteval.core.errors import require
from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.variants.variant import MixedBatch

LARGEST_ALPHA = 1e6  # lambda is 1/2 to within 0.0004 there; the quantiles of very large ones are no numbers


def check_alpha(alpha: float) -> None:
    """Refuse what is no parameter of Beta(alpha, alpha).

    Raises:
        InputError: it is not above 0, or too large for its lambdas to be worked out.
    """
    require(not alpha <= 0, "alpha", "must be above 0; erm is the variant without mixing", alpha)
    require(0 < alpha <= LARGEST_ALPHA, "alpha", "must be above 0 and at most 1e6", alpha)


def random_partner(batch: Batch, rng: Stream) -> Tensor:
    """A random permutation of the batch, [n]."""
    return rng.stream("partner").permutation(batch.ids.new_zeros(1), len(batch.ids))[0]


def one_share(batch: Batch, alpha: float, rng: Stream) -> Tensor:
    """One lambda ~ Beta(alpha, alpha) for the whole batch, [1]."""
    return _drawn(batch.ids.new_zeros(1), batch, alpha, rng)


def own_shares(batch: Batch, alpha: float, rng: Stream) -> Tensor:
    """A lambda ~ Beta(alpha, alpha) for each sample, [n]."""
    return _drawn(batch.ids, batch, alpha, rng)


def mixed(batch: Batch, classes: int, partner: Tensor, share: Tensor) -> MixedBatch:
    """Each sample with its partner, in inputs and labels alike; `share` [1] or [n] is the part of the sample itself."""
    x, targets, weights, _ = unmixed(batch, classes)
    return MixedBatch(blended(x, partner, share), blended(targets, partner, share), weights)


def blended(rows: Tensor, partner: Tensor, share: Tensor) -> Tensor:
    """Each row [n, ...] with its partner's; `share` [1] or [n] is the part of the row itself."""
    return torch.lerp(rows[partner], rows, share.to(rows.dtype).reshape(-1, *[1] * (rows.ndim - 1)))


def unmixed(batch: Batch, classes: int) -> MixedBatch:
    """The clean samples."""
    targets = functional.one_hot(batch.y, classes).to(batch.x.dtype)
    return MixedBatch(batch.x, targets, torch.ones_like(batch.ids, dtype=batch.x.dtype))


def together(first: MixedBatch, second: MixedBatch) -> MixedBatch:
    """Two mixed batches in one pass."""
    x, targets, weights = (torch.cat([a, b]) for a, b in zip(first[:3], second[:3], strict=True))
    return MixedBatch(x, targets, weights)


def _drawn(ids: Tensor, batch: Batch, alpha: float, rng: Stream) -> Tensor:
    return rng.stream("lambda").beta(ids, (), alpha, alpha).to(batch.x.dtype)
