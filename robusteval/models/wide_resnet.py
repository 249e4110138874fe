"""Wide residual networks (Zagoruyko and Komodakis, 2016, arXiv:1605.07146).

Parameters are named as in xternalz/WideResNet-pytorch, the names that TRADES and most robust checkpoints use.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from robusteval.core.errors import require
from robusteval.models.architecture import Architecture, Pool, Staged, he_initialised


@dataclass(frozen=True)
class WideResnet(Architecture):
    """A pre-activation ResNet of `depth` layers whose 16, 32 and 64 channels are multiplied by `width`."""

    name: ClassVar[str] = "wide-resnet"
    depth: int = 28
    width: int = 10

    def __post_init__(self) -> None:
        fits = self.depth >= 10 and self.depth % 6 == 4
        require(fits, "depth", "must be 6n+4: 10, 16, 22, 28, 34, 40, 70", self.depth)
        require(self.width >= 1, "width", "must be at least 1", self.width)

    def build(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
        """A network for images of any size."""
        return he_initialised(WideResnetNet(shape[0], classes, (self.depth - 4) // 6, self.width))


class WideResnetNet(Staged):
    """A convolution, three groups of n wide blocks, batch norm, global pooling and a linear layer."""

    def __init__(self, channels: int, classes: int, blocks: int, width: int) -> None:
        super().__init__()
        narrow, middle, wide = 16 * width, 32 * width, 64 * width
        self.conv1 = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        self.block1 = Group(16, narrow, blocks, 1)
        self.block2 = Group(narrow, middle, blocks, 2)
        self.block3 = Group(middle, wide, blocks, 2)
        self.bn1 = nn.BatchNorm2d(wide)
        self.relu = nn.ReLU()
        self.pool = Pool()
        self.fc = nn.Linear(wide, classes)

    @property
    def stages(self) -> list[nn.Module]:
        """The three groups, the first with the stem."""
        return [nn.Sequential(self.conv1, self.block1), self.block2, self.block3]

    @property
    def head(self) -> nn.Module:
        """The last activation, pooling and the linear layer."""
        return nn.Sequential(self.bn1, self.relu, self.pool, self.fc)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [n, classes] of normalised images."""
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        logits: Tensor = self.fc(self.pool(self.relu(self.bn1(x))))
        return logits


class Group(nn.Module):
    """Blocks of one width, the first with the stride."""

    def __init__(self, inputs: int, outputs: int, blocks: int, stride: int) -> None:
        super().__init__()
        first = Block(inputs, outputs, stride)
        self.layer = nn.Sequential(first, *(Block(outputs, outputs, 1) for _ in range(blocks - 1)))

    def forward(self, x: Tensor) -> Tensor:
        """Features of the next width."""
        features: Tensor = self.layer(x)
        return features


class Block(nn.Module):
    """Activation before convolution, twice; a projection starts from the activated input."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.projects = inputs != outputs
        if self.projects:
            self.convShortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Features of the next width."""
        active = self.bn1(x).relu()
        features = self.conv2(self.bn2(self.conv1(active)).relu())
        total: Tensor = features + (self.convShortcut(active) if self.projects else x)
        return total
