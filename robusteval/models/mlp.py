"""A multilayer perceptron (Rumelhart et al., 1986, "Learning representations by back-propagating errors")."""

from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import ClassVar

from torch import Tensor, nn

from robusteval.core.errors import require
from robusteval.models.architecture import Architecture, Staged, he_initialised


@dataclass(frozen=True)
class Mlp(Architecture):
    """Linear layers with ReLU between them; the default is that of GenLabel's toys (Sohn et al., 2022).

    Attributes:
        widths: of the hidden layers, from the first to the last.
    """

    name: ClassVar[str] = "mlp"

    widths: tuple[int, ...] = (64, 128, 128, 128)

    def __post_init__(self) -> None:
        require(len(self.widths) > 0 and min(self.widths) >= 1, "widths", "must be 1 or more, as in (64,)", self.widths)

    def build(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
        """A network for vectors [d, 1, 1] and images of any size."""
        return he_initialised(MlpNet((prod(shape), *self.widths), classes))


class MlpNet(Staged):
    """Hidden layers, whose features are [n, width, 1, 1], and a linear layer."""

    def __init__(self, widths: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(*(_layer(*pair) for pair in pairwise(widths)))
        self.classify = nn.Sequential(nn.Flatten(), nn.Linear(widths[-1], classes))

    @property
    def stages(self) -> list[nn.Module]:
        """The hidden layers."""
        return list(self.hidden)

    @property
    def head(self) -> nn.Module:
        """The linear layer."""
        return self.classify

    def forward(self, x: Tensor) -> Tensor:
        """Logits [n, classes] of normalised vectors or images."""
        logits: Tensor = self.classify(self.hidden(x))
        return logits


def _layer(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, outputs), nn.ReLU(), nn.Unflatten(1, (outputs, 1, 1)))
