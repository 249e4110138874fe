"""Manifold mixup: pairs mixed at a hidden layer that every batch draws anew (Verma et al. 2019, arXiv:1806.05236)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from robusteval.core.errors import InputError, require
from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.models.architecture import Staged
from robusteval.models.classifier import Classifier
from robusteval.variants.mixing import blended, check_alpha, one_share, random_partner, unmixed
from robusteval.variants.variant import Variant


@dataclass(frozen=True)
class Manifold(Variant):
    """One layer, one lambda and one permutation per batch; cross-entropy against the mixed labels.

    The official code's loss is the binary cross-entropy of softmax outputs, so its figures do not compare with these.
    Where a hidden layer is drawn the stages run one by one, uncompiled.

    Attributes:
        alpha: of Beta(alpha, alpha).
        layers: what is drawn from, evenly: 0 is the images, 1 the features after the first stage, and so on.
    """

    name: ClassVar[str] = "manifold"

    alpha: float = 2.0
    layers: tuple[int, ...] = (0, 1, 2)

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        numbers = len(self.layers) > 0 and min(self.layers) >= 0
        require(numbers, "layers", "must be numbers of stages, 0 for the images, as in (0, 1, 2)", self.layers)

    def loss(self, model: nn.Module, batch: Batch, classes: int, rng: Stream) -> Tensor:
        """The mean cross-entropy against soft labels."""
        partner, share = random_partner(batch, rng), one_share(batch, self.alpha, rng)
        drawn = rng.stream("layer").integers(batch.ids.new_zeros(1), (), 0, len(self.layers))
        before, after = self._halves(model, self.layers[int(drawn)])
        logits = after(blended(before(batch.x), partner, share))
        targets = blended(unmixed(batch, classes).targets, partner, share)
        return functional.cross_entropy(logits, targets, reduction="none").mean()

    def _halves(self, model: nn.Module, layer: int) -> tuple[nn.Module, nn.Module]:
        """The model up to a layer, from images to features, and the rest of it, from features to logits."""
        if not any(self.layers):
            return nn.Identity(), model
        if not (isinstance(model, Classifier) and isinstance(model.network, Staged)):
            network = type(model.network if isinstance(model, Classifier) else model).__name__
            raise InputError(f"architecture={network!r}: manifold needs a network with stages, as own ones have")
        stages = model.network.stages
        rule = f"must be at most {len(stages)}, the stages of this network"
        require(max(self.layers) <= len(stages), "layers", rule, self.layers)
        if layer == 0:
            return nn.Identity(), model
        before = Classifier(nn.Sequential(*stages[:layer]))
        before.mean, before.std = model.mean, model.std
        return before, nn.Sequential(*stages[layer:], model.network.head)
