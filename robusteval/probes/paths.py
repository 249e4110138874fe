"""Paths between samples: straight to a partner, or through the codes of an autoencoder.

Partners are drawn at random, or matched as in k-mixup (Greenewald et al. 2021, arXiv:2106.02933); paths through codes
are those of VarMixup (Mangla et al. 2020, arXiv:2003.06566).
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from robusteval.attacks.oracle import predict
from robusteval.core.errors import CheckpointError
from robusteval.core.matching import match_in_blocks
from robusteval.core.rng import Stream
from robusteval.core.spec import Spec
from robusteval.core.types import Batch
from robusteval.models.autoencoder import Autoencoder, initialised
from robusteval.models.checkpoint import fill, read_tensors

Shape = tuple[int, int, int]

KMIXUP_K = 32
"""Samples that the variant `kmixup` matches at a time where its spec does not say."""

CODED = "varmixup"
"""The variant whose paths go through codes."""

ROWS = 32
"""Images of every pass through an autoencoder, so that codes have the same bits whatever the batch."""


class Pairing(NamedTuple):
    """How partners are found.

    Attributes:
        k: samples matched at a time; None for partners at random.
        squared: whether they are matched in squared distance, or in the distance itself.
    """

    k: int | None = None
    squared: bool = True


class Route(NamedTuple):
    """Points that are mixed, and what images the mixes are.

    Attributes:
        points: [n, ...], one for each sample: its image, or its code.
        images: from points [m, ...] to images [m, c, h, w].
    """

    points: Tensor
    images: Callable[[Tensor], Tensor]

    @classmethod
    def straight(cls, x: Tensor) -> "Route":
        """Images x [n, c, h, w] are mixed themselves."""
        return cls(x, lambda points: points)

    @classmethod
    def coded(cls, x: Tensor, codec: Autoencoder) -> "Route":
        """Codes of images x [n, c, h, w] are mixed, and then decoded."""
        return cls(predict(codec.encoder, x, ROWS, ROWS), lambda codes: predict(codec.decoder, codes, ROWS, ROWS))

    def at(self, one: Tensor, other: Tensor, share: float) -> Tensor:
        """Images [m, c, h, w] at this share of rows `one` [m], the rest of rows `other`."""
        return self.images(share * self.points[one] + (1 - share) * self.points[other])


def pairing_of(variant: str | None) -> Pairing:
    """How a training variant pairs: `kmixup` by its k and cost, every other at random."""
    spec = None if variant is None else Spec.parse(variant)
    if spec is None or spec.provider is not None or spec.name != "kmixup":
        return Pairing()
    said = dict(spec.arguments)
    return Pairing(int(said.get("k", KMIXUP_K)), said.get("cost", "squared") == "squared")


def is_coded(variant: str | None) -> bool:
    """Whether a training variant mixes codes."""
    return variant is not None and Spec.parse(variant).name == CODED


def read_codec(path: Path, shape: Shape) -> Autoencoder:
    """The autoencoder for such images out of a `mmd-vae-*.safetensors` of a training's cache.

    Raises:
        CheckpointError: the file is missing or damaged, or holds something else.
        InputError: the images are too small for any.
    """
    tensors = read_tensors(path)
    first = tensors.get("decoder.0.weight")
    complaint = f"{path} is not an autoencoder of images of {'x'.join(map(str, shape))}"
    if first is None or first.dim() != 2 or first.shape[0] % 8:
        raise CheckpointError(f"{complaint}: name an mmd-vae-*.safetensors of the training's --cache")
    hidden, latent = first.shape
    codec = initialised(shape, latent, hidden // 8)
    fill(codec, tensors, complaint)
    return codec.requires_grad_(False).eval()


def partners(batch: Batch, pairing: Pairing, rng: Stream) -> dict[str, Tensor]:
    """A partner of each sample `across` and one `within` the classes, rows of the batch [n], -1 for none."""
    if pairing.k is None:
        return drawn(batch, rng.stream("between"))
    return matched(batch, pairing.k, rng, pairing.squared)


def drawn(batch: Batch, rng: Stream) -> dict[str, Tensor]:
    """A uniform partner of each sample `across` and one `within` the classes, rows of the batch [n], -1 for none."""
    order = batch.ids.argsort()
    order = order[batch.y[order].argsort(stable=True)]
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)
    counts = torch.bincount(batch.y)
    first, own = (counts.cumsum(0) - counts)[batch.y], counts[batch.y]
    # Within the order by class: skip the whole class, or the sample itself.
    others, alike = len(order) - own, own - 1
    across = rng.stream("across").integers(batch.ids, (), 0, 2**62) % others.clamp_min(1)
    across = torch.where(across < first, across, across + own)
    within = first + rng.stream("within").integers(batch.ids, (), 0, 2**62) % alike.clamp_min(1)
    within = torch.where(within < place, within, within + 1)
    return {
        kind: torch.where(room > 0, order[place_of.clamp_max(len(order) - 1)], -1)
        for kind, room, place_of in (("within", alike, within), ("across", others, across))
    }


def matched(batch: Batch, k: int, rng: Stream, squared: bool = True) -> dict[str, Tensor]:
    """Partners between two random halves, matched k at a time; rows of the batch [n] or -1.

    Each pair is `within` or `across` as its labels are. The odd one out has no partner.
    """
    order = batch.ids.argsort()
    order = order[rng.stream("between", "order").words(batch.ids[order], 1)[:, 0].argsort(stable=True)]
    half = len(order) // 2
    partner = torch.full_like(order, -1)
    if half:
        first, second = order[:half], order[half : 2 * half]
        second = second[match_in_blocks(batch.x[first], batch.x[second], k, squared)]
        partner[first], partner[second] = second, first
    alike = (partner >= 0) & (batch.y == batch.y[partner])
    return {"within": torch.where(alike, partner, -1), "across": torch.where(alike, -1, partner)}
