"""The ResNets for CIFAR: 6n+2 layers of 16, 32 and 64 channels (He et al., 2016, arXiv:1512.03385).

Parameters are named as in akamaster/pytorch_resnet_cifar10, whose checkpoints load as they are.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn
from torch.nn import functional

from robusteval.core.errors import require
from robusteval.models.architecture import Architecture, Pool, Staged, he_initialised

Shortcut = Literal["A", "B"]


@dataclass(frozen=True)
class ResnetCifar(Architecture):
    """A ResNet of `depth` layers; shortcut A pads new channels with zeros, B projects them by a 1x1 convolution."""

    name: ClassVar[str] = "resnet-cifar"
    depth: int = 20
    shortcut: Shortcut = "A"

    def __post_init__(self) -> None:
        fits = self.depth >= 8 and self.depth % 6 == 2
        require(fits, "depth", "must be 6n+2: 20, 32, 44, 56, 110", self.depth)

    def build(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
        """A network for images of any size."""
        return he_initialised(ResnetCifarNet(shape[0], classes, (self.depth - 2) // 6, self.shortcut))


class ResnetCifarNet(Staged):
    """A convolution, three groups of n blocks, global pooling and a linear layer."""

    def __init__(self, channels: int, classes: int, blocks: int, shortcut: Shortcut) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _group(16, 16, blocks, 1, shortcut)
        self.layer2 = _group(16, 32, blocks, 2, shortcut)
        self.layer3 = _group(32, 64, blocks, 2, shortcut)
        self.pool = Pool()
        self.linear = nn.Linear(64, classes)

    @property
    def stages(self) -> list[nn.Module]:
        """The three groups, the first with the stem."""
        return [nn.Sequential(self.conv1, self.bn1, nn.ReLU(), self.layer1), self.layer2, self.layer3]

    @property
    def head(self) -> nn.Module:
        """Pooling and the linear layer."""
        return nn.Sequential(self.pool, self.linear)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [n, classes] of normalised images."""
        x = self.bn1(self.conv1(x)).relu()
        logits: Tensor = self.linear(self.pool(self.layer3(self.layer2(self.layer1(x)))))
        return logits


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int, shortcut: Shortcut) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = _shortcut(inputs, outputs, stride, shortcut)

    def forward(self, x: Tensor) -> Tensor:
        """Features of the next width."""
        features = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        total: Tensor = features + self.shortcut(x)
        return total.relu()


class PaddedShortcut(nn.Module):
    """Option A: every second pixel, and zeros for the new channels, half of them before and half after."""

    def __init__(self, added: int) -> None:
        super().__init__()
        self.added = added

    def forward(self, x: Tensor) -> Tensor:
        """Features at half the resolution."""
        return functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.added // 2, self.added // 2))


def _group(inputs: int, outputs: int, blocks: int, stride: int, shortcut: Shortcut) -> nn.Sequential:
    first = Block(inputs, outputs, stride, shortcut)
    return nn.Sequential(first, *(Block(outputs, outputs, 1, shortcut) for _ in range(blocks - 1)))


def _shortcut(inputs: int, outputs: int, stride: int, shortcut: Shortcut) -> nn.Module:
    if inputs == outputs and stride == 1:
        return nn.Identity()
    if shortcut == "A":
        return PaddedShortcut(outputs - inputs)
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
