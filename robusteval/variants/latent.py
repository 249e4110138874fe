"""What the variants around an autoencoder share: its fit on the training part, and a mixer that holds it frozen."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robusteval.core.errors import require
from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.data import Split
from robusteval.data.augment import augment
from robusteval.models import autoencoder
from robusteval.models.autoencoder import Autoencoder
from robusteval.models.fit import Epoch, Settings, fit
from robusteval.variants.fitting import Fitting, Tensors
from robusteval.variants.mixing import check_alpha
from robusteval.variants.mixup import Mixup
from robusteval.variants.variant import FittedVariant, InputMixer, MixedBatch

_BATCH_SIZE, _RATE = 64, 1e-2
_WATCHED = 16


@dataclass(frozen=True)
class CodecMixer(InputMixer):
    """Input mixup somewhere between an encoder and a decoder: where is `between`, the author's.

    Attributes:
        mixup: draws partners and shares.
        encode: images [n, c, h, w] in [0, 1] to codes [n, latent].
        decode: codes to images.
    """

    mixup: Mixup
    encode: Callable[[Tensor], Tensor]
    decode: Callable[[Tensor], Tensor]

    @abstractmethod
    def between(self, batch: Batch, classes: int, rng: Stream) -> MixedBatch:
        """The mix."""

    def mix(self, batch: Batch, classes: int, rng: Stream) -> MixedBatch:
        """The mix, in full precision and without a gradient."""
        with torch.no_grad(), torch.autocast(batch.x.device.type, enabled=False):
            return self.between(batch, classes, rng)

    def notes(self, batch: Batch, mixed: MixedBatch) -> Mapping[str, Tensor]:
        """The mean squared error of a reconstructed pixel, measured on a few samples of the batch."""
        x = batch.x[:_WATCHED]
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            return {"reconstruction": autoencoder.squared_error(self.decode(self.encode(x)), x)}


@dataclass(frozen=True)
class WithAutoencoder(FittedVariant):
    """A variant that fits an MMD-VAE on the training part, or takes that of another with the same settings.

    Attributes:
        alpha: of Beta(alpha, alpha).
        per_sample: whether every pair draws its own lambda.
        latent: numbers in a code.
        width: channels of the autoencoder's first convolution; the authors' code has 64.
        epochs: of the autoencoder.
        mmd: weight of the discrepancy between the codes and N(0, I) against the mean squared error of a pixel.
    """

    alpha: float = 1.0
    per_sample: bool = False
    latent: int = 64
    width: int = autoencoder.WIDTH
    epochs: int = 10
    mmd: float = 1.0

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        for argument in ("latent", "width", "epochs"):
            require(getattr(self, argument) >= 1, argument, "must be at least 1", getattr(self, argument))
        require(self.mmd >= 0, "mmd", "must not be negative", self.mmd)

    def rehearse(self, model: nn.Module, batch: Batch, classes: int, rng: Stream) -> None:
        """Refuse images that the autoencoder cannot take."""
        _, *shape = batch.x.shape
        autoencoder.initialised((shape[0], shape[1], shape[2]), self.latent, self.width)

    @abstractmethod
    def mixer(self, mixup: Mixup, model: Autoencoder) -> CodecMixer:
        """What is trained with, around the fitted autoencoder."""

    def prepared(self, fitting: Fitting) -> CodecMixer:
        """The mixer with the autoencoder, frozen on the run's device."""
        settings = (autoencoder.VERSION, self.latent, self.width, self.epochs, self.mmd, fitting.augmentation)
        model = self._initialised(fitting)
        model.load_state_dict(fitting.part("mmd-vae", settings, lambda: self._fitted(fitting)))
        return self.mixer(Mixup(self.alpha, self.per_sample), model.requires_grad_(False).eval())

    def _initialised(self, fitting: Fitting) -> Autoencoder:
        return autoencoder.initialised(fitting.train.shape, self.latent, self.width, fitting.seed).to(fitting.device)

    def _fitted(self, fitting: Fitting) -> Tensors:
        """The weights after a training by Adam; what remains of an epoch after its whole batches is left out."""
        train, rng = fitting.train, Stream.seeded(fitting.seed).stream("mmd-vae")
        images, labels, ids = (tensor.to(fitting.device) for tensor in (train.images, train.labels, train.ids))
        resident, size = Split(images, labels, ids, train.classes), min(_BATCH_SIZE, len(train))
        steps = len(train) // size
        settings = Settings(self.epochs, steps, lr=_RATE, method="adam", weight_decay=0.0, warmup=0.1)

        def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
            order = rng.stream("order").permutation(torch.tensor([epoch]), len(train))[0].to(fitting.device)
            for number in range(steps):
                batch = resident.batch(order[number * size :][:size])
                prior = rng.stream("prior", epoch * steps + number).normal(batch.ids, (self.latent,))
                yield augment(batch.x, batch.ids, fitting.augmentation, rng.stream("augment", epoch)), prior

        def loss(_: nn.Module, item: tuple[Tensor, Tensor]) -> Tensor:
            return autoencoder.objective(model, *item, self.mmd)

        def on_epoch(epoch: Epoch) -> None:
            fitting.progress("mmd-vae", epoch.number + 1, self.epochs)

        model = self._initialised(fitting)
        fit(model, batches, loss, settings, on_epoch)
        return model.state_dict()
