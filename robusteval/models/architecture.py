"""The contract of an architecture, and of the networks this house builds itself."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from robusteval.core.component import Component, Provider
from robusteval.core.errors import SpecError


@dataclass(frozen=True)
class Architecture(Component):
    """A network by its shape: `build` is the author's, `initialised` is everyone's.

    Networks take normalised images and return logits [n, classes]; own ones are `Staged`.
    """

    @abstractmethod
    def build(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
        """A network for images of shape (channels, height, width)."""

    def initialised(self, shape: tuple[int, int, int], classes: int, seed: int = 0) -> nn.Module:
        """The network with its starting weights drawn from `seed`; the global generator is left as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.build(shape, classes)


def options(provider: Provider, fixed: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments for another library's builder: the spec's, and those that are not the user's to set.

    Raises:
        SpecError: the spec sets one of the latter.
    """
    for key, _ in provider.arguments:
        if key in fixed:
            raise SpecError(f"architecture '{provider.spec}': leave out {key}, it is always {fixed[key]}")
    return {**dict(provider.arguments), **fixed}


class Staged(nn.Module):
    """A network that is a chain: its stages in order, then its head, give the same logits as `forward`.

    Both are put together when asked, from the modules that `forward` uses, so that parameter names stay those of the
    public checkpoints. Methods that mix or measure hidden features work on any `Staged`.
    """

    @property
    def stages(self) -> list[nn.Module]:
        """Modules that take images, or the features of the one before, to features [n, c, h, w]."""
        raise NotImplementedError

    @property
    def head(self) -> nn.Module:
        """The module that takes the last features to logits."""
        raise NotImplementedError


class Pool(nn.Module):
    """Global average pooling: features [n, c, h, w] to [n, c]."""

    def forward(self, x: Tensor) -> Tensor:
        """The mean over height and width."""
        return x.mean(dim=(2, 3))


def he_initialised(network: nn.Module) -> nn.Module:
    """Draw convolutions and linear layers anew as ResNets do, in place (He et al., 2015, arXiv:1502.01852)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
    return network
