"""VarMixup: pairs are mixed as codes of a variational autoencoder (Mangla et al. 2020, arXiv:2003.06566)."""

from dataclasses import dataclass
from typing import ClassVar

from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.models.autoencoder import Autoencoder
from robusteval.variants.latent import CodecMixer, WithAutoencoder
from robusteval.variants.mixup import Mixup
from robusteval.variants.variant import MixedBatch


@dataclass(frozen=True)
class Varmixup(WithAutoencoder):
    """The classifier sees decoded mixes of posterior means, with partners, lambda and labels those of input mixup.

    No public code of the paper is known, so the autoencoder, an MMD-VAE, and its settings are those of this house.
    No share of 1 gives back a clean image: compare with `mixup-reconstructed`, which sees the same reconstructions.
    """

    name: ClassVar[str] = "varmixup"

    def mixer(self, mixup: Mixup, model: Autoencoder) -> "CodeMixer":
        """Mix between the encoder and the decoder."""
        return CodeMixer(mixup, model.encode, model.decode)


@dataclass(frozen=True)
class CodeMixer(CodecMixer):
    """Input mixup of codes."""

    def between(self, batch: Batch, classes: int, rng: Stream) -> MixedBatch:
        """Mix the codes, then decode."""
        codes = self.mixup.mix(batch._replace(x=self.encode(batch.x)), classes, rng)
        return codes._replace(x=self.decode(codes.x))
