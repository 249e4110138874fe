"""The contract of an architecture."""

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import nn

from robusteval.core.component import Component


@dataclass(frozen=True)
class Architecture(Component):
    """A network by its shape: `build` is the author's, `initialised` is everyone's.

    Networks take normalised images and return logits [n, classes]; own ones expose `stages`, a list of modules.
    """

    @abstractmethod
    def build(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
        """A network for images of shape (channels, height, width)."""

    def initialised(self, shape: tuple[int, int, int], classes: int, seed: int = 0) -> nn.Module:
        """The network with its starting weights drawn from `seed`; the global generator is left as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.build(shape, classes)
