"""An autoencoder whose codes are standard normal as a whole: the MMD-VAE (Zhao et al. 2019, arXiv:1706.02262).

The layers follow the authors' published code, at a quarter of its width where nothing else is asked for, so that it
trains in minutes on one CPU core. As there, the encoder is deterministic: the posterior is its mean. Beyond it, codes
are batch-normalised without a learned scale (Ioffe and Szegedy 2015, arXiv:1502.03167): codes that start far from the
prior, or all in one place, give the kernel next to no gradient, and stay there.
"""

import itertools

import torch
from torch import Tensor, nn

from robusteval.core.errors import require
from robusteval.core.matching import squared_distances

VERSION = 1  # raised when the fitted weights change, so that stored ones are not reused
WIDTH = 16


class Autoencoder(nn.Module):
    """Un-normalised images in [0, 1] to codes and back; what comes back is in [0, 1] as well.

    Args:
        encoder: images [n, c, h, w] to codes [n, latent].
        decoder: codes to images.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def encode(self, x: Tensor) -> Tensor:
        """Codes [n, latent] of images x [n, c, h, w]: the posterior means."""
        codes: Tensor = self.encoder(x)
        return codes

    def decode(self, codes: Tensor) -> Tensor:
        """Images [n, c, h, w] of codes [n, latent]: the decoder's means."""
        x: Tensor = self.decoder(codes)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """The reconstructions of images x [n, c, h, w]."""
        return self.decode(self.encode(x))


def initialised(shape: tuple[int, int, int], latent: int, width: int = WIDTH, seed: int = 0) -> Autoencoder:
    """An autoencoder with its starting weights drawn from `seed`; the global generator is left as it was.

    Args:
        shape: channels, height and width; (d, 1, 1) is a vector, anything else an image of at least 8x8 pixels.
        latent: numbers in a code.
        width: channels of the first convolution; a hidden layer has 8 times as many units.
        seed: of the weights.

    Raises:
        InputError: the image is too small, or a size below 1.
    """
    require(latent >= 1, "latent", "must be at least 1", latent)
    require(width >= 1, "width", "must be at least 1", width)
    vector = shape[1:] == (1, 1)
    require(vector or min(shape[1:]) >= 8, "shape", "must be a vector or an image of at least 8x8 pixels", shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _for_vectors(shape[0], latent, 8 * width) if vector else _for_images(shape, latent, width)


def objective(model: Autoencoder, x: Tensor, prior: Tensor, weight: float) -> Tensor:
    """The mean squared error of a pixel, plus `weight` times the discrepancy between the codes and the prior.

    Args:
        model: the autoencoder.
        x: images [n, c, h, w] in [0, 1].
        prior: fresh draws of N(0, I), [n, latent].
        weight: 1 in the authors' main script.
    """
    codes = model.encode(x)
    return squared_error(model.decode(codes), x) + weight * discrepancy(codes, prior).to(x.dtype)


def squared_error(x: Tensor, y: Tensor) -> Tensor:
    """The mean squared difference of a pixel, a scalar."""
    return ((x - y) ** 2).mean()


def discrepancy(a: Tensor, b: Tensor, bandwidth: float | None = None) -> Tensor:
    """The squared maximum mean discrepancy of two samples, a float64 scalar (Gretton et al. 2012, JMLR 13:723-773).

    This is the biased estimate: it is never negative, and about 1 / n where both are n draws of one distribution.

    Args:
        a: [n, d].
        b: [m, d].
        bandwidth: the kernel is exp(-|a - b|^2 / bandwidth). None is 2 d, the mean squared distance of two draws of
            N(0, I); with the d^2 of the authors' code the kernel is almost constant where d is large.
    """
    scale = 2.0 * a.shape[1] if bandwidth is None else bandwidth

    def kernel(rows: Tensor, columns: Tensor) -> Tensor:
        return torch.exp(-squared_distances(rows, columns) / scale).mean()

    return kernel(a, a) + kernel(b, b) - 2 * kernel(a, b)


def _for_images(shape: tuple[int, int, int], latent: int, width: int) -> Autoencoder:
    """Convolutions halve the image twice, and on until its shorter side is at most 7 pixels; then two layers."""
    sizes = [shape[1:]]
    while len(sizes) < 3 or min(sizes[-1]) > 7:
        sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
    channels = [shape[0], *(width * 2**stage for stage in range(len(sizes) - 1))]
    coarsest = (channels[-1], *sizes[-1])
    features, hidden = coarsest[0] * coarsest[1] * coarsest[2], 8 * width
    encoder, decoder = nn.Sequential(), nn.Sequential(nn.Linear(latent, hidden), _bend(), nn.Linear(hidden, features))
    for inputs, outputs in itertools.pairwise(channels):
        encoder.extend([nn.Conv2d(inputs, outputs, 4, stride=2, padding=1), _bend()])
    encoder.extend([nn.Flatten(), nn.Linear(features, hidden), _bend(), *_code(hidden, latent)])
    decoder.append(nn.Unflatten(1, coarsest))
    for (inputs, outputs), size in zip(itertools.pairwise(channels[::-1]), sizes[-2::-1], strict=True):
        odd = (size[0] % 2, size[1] % 2)
        doubling = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, output_padding=odd)
        decoder.extend([_bend(), doubling])
    return Autoencoder(encoder, decoder.append(nn.Sigmoid()))


def _for_vectors(length: int, latent: int, hidden: int) -> Autoencoder:
    """Two hidden layers each way."""
    into, out_of = nn.Linear(length, hidden), nn.Linear(latent, hidden)
    encoder = [nn.Flatten(), into, _bend(), nn.Linear(hidden, hidden), _bend(), *_code(hidden, latent)]
    decoder = [out_of, _bend(), nn.Linear(hidden, hidden), _bend(), nn.Linear(hidden, length), nn.Sigmoid()]
    return Autoencoder(nn.Sequential(*encoder), nn.Sequential(*decoder, nn.Unflatten(1, (length, 1, 1))))


def _code(hidden: int, latent: int) -> list[nn.Module]:
    return [nn.Linear(hidden, latent), nn.BatchNorm1d(latent, affine=False)]


def _bend() -> nn.Module:
    return nn.LeakyReLU(0.1)
