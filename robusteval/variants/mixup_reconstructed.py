"""Input mixup of an autoencoder's reconstructions: the control of VarMixup (Mangla et al. 2020, arXiv:2003.06566)."""

from dataclasses import dataclass
from typing import ClassVar

from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.models.autoencoder import Autoencoder
from robusteval.variants.latent import CodecMixer, WithAutoencoder
from robusteval.variants.mixup import Mixup
from robusteval.variants.variant import MixedBatch


@dataclass(frozen=True)
class MixupReconstructed(WithAutoencoder):
    """The images are as smooth as those of `varmixup` with the same settings, and by the same autoencoder.

    What varmixup gains over this is due to mixing codes; what both gain over mixup, to smoother images.
    """

    name: ClassVar[str] = "mixup-reconstructed"

    def mixer(self, mixup: Mixup, model: Autoencoder) -> "ReconstructionMixer":
        """Mix after the decoder."""
        return ReconstructionMixer(mixup, model.encode, model.decode)


@dataclass(frozen=True)
class ReconstructionMixer(CodecMixer):
    """Input mixup of reconstructions."""

    def between(self, batch: Batch, classes: int, rng: Stream) -> MixedBatch:
        """Encode and decode, then mix."""
        return self.mixup.mix(batch._replace(x=self.decode(self.encode(batch.x))), classes, rng)
