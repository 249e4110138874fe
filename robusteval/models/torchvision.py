"""Torchvision's classifiers, with random weights: `torchvision:resnet50` (Marcel and Rodriguez, 2010, torchvision)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from robusteval.core.component import Provider
from robusteval.core.errors import SpecError, nearest
from robusteval.models.architecture import Architecture, options

_RGB = 3


@dataclass(frozen=True)
class Torchvision(Provider, Architecture):
    """A classification model of torchvision; arguments go to its builder."""

    name: ClassVar[str] = "torchvision"

    def build(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
        """The named model with `classes` outputs, its first convolution made for the images' channels.

        Raises:
            SpecError: torchvision has no such classifier, or it does not take the arguments.
        """
        # Imported here because it takes a second, which `robusteval list` should not wait for.
        from torchvision import models

        choices = models.list_models(module=models)
        if self.target not in choices:
            raise SpecError(f"torchvision has no classifier {self.target!r}: {nearest(self.target, choices)}")
        # No spec can ask for weights: it would be a download that no record mentions.
        arguments = options(self, {"num_classes": classes, "weights": None})
        try:
            network: nn.Module = models.get_model(self.target, **arguments)
        except (TypeError, ValueError) as error:
            raise SpecError(f"architecture '{self.spec}': {error}") from None
        if shape[0] != _RGB:
            replace_first_convolution(network, shape[0])
        return network


def replace_first_convolution(network: nn.Module, channels: int) -> None:
    """Put a new convolution for `channels` input channels in place of the first one; all else about it stays."""
    name, old = next((name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d))
    new = nn.Conv2d(
        channels,
        old.out_channels,
        old.kernel_size,  # type: ignore[arg-type]
        old.stride,  # type: ignore[arg-type]
        old.padding,  # type: ignore[arg-type]
        old.dilation,  # type: ignore[arg-type]
        bias=old.bias is not None,
    )
    network.set_submodule(name, new)
