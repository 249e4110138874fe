"""AugMix: mixed chains of augmentations and a consistency loss over them (Hendrycks et al. 2020, arXiv:1912.02781)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from robusteval.core.errors import require
from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.variants.operations import OPERATIONS, operated
from robusteval.variants.variant import Variant

_VIEWS = 2
_WEAKEST = 0.1


@dataclass(frozen=True)
class Augmix(Variant):
    """CE(clean) + weight x Jensen-Shannon divergence of the predictions for the image and for two mixed views of it.

    A view is m times a mix of chains plus 1 - m times the image, with Dirichlet(1) shares of the chains and m from
    Beta(1, 1), every image for itself. Clean images and views are one pass.

    Attributes:
        severity: levels are uniform from 0.1 to it; 10 is the strongest that operations have.
        chains: in a view.
        depth: of the longest chain; each draws its own from 1.
        weight: of the divergence.
    """

    name: ClassVar[str] = "augmix"
    images_only: ClassVar[bool] = True

    severity: float = 3.0
    chains: int = 3
    depth: int = 3
    weight: float = 12.0

    def __post_init__(self) -> None:
        require(_WEAKEST <= self.severity <= 10, "severity", "must be in [0.1, 10]", self.severity)
        require(self.chains >= 1, "chains", "must be at least 1", self.chains)
        require(self.depth >= 1, "depth", "must be at least 1", self.depth)
        require(0 <= self.weight < math.inf, "weight", "must be at least 0 and finite", self.weight)

    def loss(self, model: nn.Module, batch: Batch, classes: int, rng: Stream) -> Tensor:
        """Both terms, each a mean over the batch."""
        logits = model(torch.cat([batch.x, *self.views(batch, rng)])).float()
        clean = logits[: len(batch.ids)]
        predictions = logits.log_softmax(dim=1).reshape(1 + _VIEWS, len(batch.ids), -1)
        return functional.cross_entropy(clean, batch.y) + self.weight * divergence(predictions).mean()

    def views(self, batch: Batch, rng: Stream) -> Tensor:
        """Two mixed views of every image, [2, n, c, h, w] in [0, 1]."""
        shape = (_VIEWS, self.chains)
        # Normalised exponentials are Dirichlet(1).
        shares = -torch.log1p(-rng.stream("share").uniform(batch.ids, shape, dtype=torch.float64))
        shares = shares / shares.sum(dim=2, keepdim=True)
        mixing = rng.stream("mixing").uniform(batch.ids, (_VIEWS, 1))
        chains = self._chains(batch, rng) / 255
        # No einsum: autocast would round images to half precision.
        mixes = (shares.to(chains.dtype)[..., None, None, None] * chains).sum(dim=2)
        views = torch.lerp(batch.x[:, None], mixes, mixing[..., None, None])
        return views.clamp(0, 1).transpose(0, 1)

    def _chains(self, batch: Batch, rng: Stream) -> Tensor:
        """Every image at the end of each of its chains, [n, 2, chains, c, h, w], whole numbers in [0, 255]."""
        shape = (_VIEWS, self.chains)
        images = (batch.x * 255).round()[:, None, None].expand(-1, *shape, -1, -1, -1).flatten(0, 2)
        length = rng.stream("length").integers(batch.ids, shape, 1, self.depth + 1).flatten()
        steps = (*shape, self.depth)
        chosen = rng.stream("operation").integers(batch.ids, steps, 0, len(OPERATIONS)).flatten(0, 2)
        level = rng.stream("level").uniform(batch.ids, steps, dtype=torch.float64).flatten(0, 2)
        level = torch.lerp(torch.full_like(level, _WEAKEST), torch.full_like(level, self.severity), level)
        sign = 1 - 2 * rng.stream("sign").integers(batch.ids, steps, 0, 2).flatten(0, 2)
        for step in range(self.depth):
            stays = torch.where(step < length, chosen[:, step], -1)
            images = operated(images, stays, level[:, step], sign[:, step])
        return images.reshape(-1, *shape, *batch.x.shape[1:])


def divergence(predictions: Tensor) -> Tensor:
    """The Jensen-Shannon divergence in nats, [n], of several log-probabilities of each row, [m, n, k]."""
    middle = predictions.logsumexp(dim=0) - math.log(len(predictions))
    return (predictions.exp() * (predictions - middle)).sum(dim=2).mean(dim=0)
