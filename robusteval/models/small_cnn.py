"""A residual CNN of 43,000 parameters that trains in minutes on a CPU (blocks of He et al., 2016, arXiv:1512.03385)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from robusteval.core.errors import require
from robusteval.models.architecture import Architecture, Pool, Staged


@dataclass(frozen=True)
class SmallCnn(Architecture):
    """Three 3x3 convolutions of 16, 32 and 64 channels with one residual block between the last two."""

    name: ClassVar[str] = "small-cnn"

    def build(self, shape: tuple[int, int, int], classes: int) -> "SmallCnnNet":
        """A network for images of at least 8x8 pixels and any number of channels."""
        require(min(shape[1:]) >= 8, "shape", "small-cnn needs images of at least 8x8 pixels", shape)
        return SmallCnnNet(shape[0], classes)


class SmallCnnNet(Staged):
    """Full resolution is left after one cheap convolution; half of the arithmetic is at a quarter of the pixels."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_convolution(channels, 16), nn.MaxPool2d(2))
        self.middle = nn.Sequential(*_convolution(16, 32), Residual(32), nn.MaxPool2d(2))
        self.last = nn.Sequential(*_convolution(32, 64))
        self.classify = nn.Sequential(Pool(), nn.Linear(64, classes))

    @property
    def stages(self) -> list[nn.Module]:
        """Three stages: full, half and quarter resolution."""
        return [self.stem, self.middle, self.last]

    @property
    def head(self) -> nn.Module:
        """Global average pooling and a linear layer."""
        return self.classify

    def forward(self, x: Tensor) -> Tensor:
        """Logits [n, classes] of normalised images."""
        logits: Tensor = self.classify(self.last(self.middle(self.stem(x))))
        return logits


class Residual(nn.Module):
    """Two convolutions beside an identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*_convolution(channels, channels), *_convolution(channels, channels)[:2])

    def forward(self, x: Tensor) -> Tensor:
        """Features of the same shape."""
        features: Tensor = x + self.body(x)
        return features.relu()


def _convolution(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
