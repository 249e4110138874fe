"""Pre-activation ResNets with a stem for small images (He et al., 2016, arXiv:1603.05027).

Parameters are named as in kuangliu/pytorch-cifar, with the paper's final batch norm as `bn`.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from robusteval.core.errors import require
from robusteval.models.architecture import Architecture, Pool, Staged, he_initialised

_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
_WIDTHS = (64, 64, 128, 256, 512)


@dataclass(frozen=True)
class PreactResnet(Architecture):
    """A pre-activation ResNet of 18 or 34 layers, 64 to 512 channels."""

    name: ClassVar[str] = "preact-resnet"
    depth: int = 18

    def __post_init__(self) -> None:
        require(self.depth in _BLOCKS, "depth", "must be 18 or 34", self.depth)

    def build(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
        """A network for images of any size."""
        return he_initialised(PreactResnetNet(shape[0], classes, _BLOCKS[self.depth]))


class PreactResnetNet(Staged):
    """A convolution, four groups of blocks, batch norm, global pooling and a linear layer."""

    def __init__(self, channels: int, classes: int, blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, _WIDTHS[0], 3, padding=1, bias=False)
        groups = [_group(*widths, count) for widths, count in zip(pairwise(_WIDTHS), blocks, strict=True)]
        self.layer1, self.layer2, self.layer3, self.layer4 = groups
        self.bn = nn.BatchNorm2d(_WIDTHS[-1])
        self.relu = nn.ReLU()
        self.pool = Pool()
        self.linear = nn.Linear(_WIDTHS[-1], classes)

    @property
    def stages(self) -> list[nn.Module]:
        """The four groups, the first with the stem."""
        return [nn.Sequential(self.conv1, self.layer1), self.layer2, self.layer3, self.layer4]

    @property
    def head(self) -> nn.Module:
        """The last activation, pooling and the linear layer."""
        return nn.Sequential(self.bn, self.relu, self.pool, self.linear)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [n, classes] of normalised images."""
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.conv1(x)))))
        logits: Tensor = self.linear(self.pool(self.relu(self.bn(x))))
        return logits


class Block(nn.Module):
    """Activation before convolution, twice; a projection starts from the activated input."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.projects = stride != 1 or inputs != outputs
        if self.projects:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """Features of the next width."""
        active = self.bn1(x).relu()
        features = self.conv2(self.bn2(self.conv1(active)).relu())
        total: Tensor = features + (self.shortcut(active) if self.projects else x)
        return total


def _group(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
    first = Block(inputs, outputs, 1 if inputs == outputs else 2)
    return nn.Sequential(first, *(Block(outputs, outputs, 1) for _ in range(blocks - 1)))
