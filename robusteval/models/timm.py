"""The classifiers of timm, with random weights: `timm:convnext_tiny` (Wightman, 2019, pytorch-image-models)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from robusteval.core.component import Provider
from robusteval.core.errors import SpecError, nearest
from robusteval.models.architecture import Architecture, options


@dataclass(frozen=True)
class Timm(Provider, Architecture):
    """A model of timm; arguments go to `timm.create_model`."""

    name: ClassVar[str] = "timm"

    def build(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
        """The named model for the images' channels with `classes` outputs.

        Raises:
            SpecError: timm is not installed, has no such model, or it does not take the arguments.
        """
        try:
            # Imported here because it is optional, and slow.
            import timm
        except ModuleNotFoundError:
            raise SpecError("timm is not installed: pip install timm") from None
        if not timm.is_model(self.target):
            raise SpecError(f"timm has no model {self.target!r}: {nearest(self.target, timm.list_models())}")
        arguments = options(self, {"pretrained": False, "num_classes": classes, "in_chans": shape[0]})
        try:
            network: nn.Module = timm.create_model(self.target, **arguments)
        except (TypeError, ValueError) as error:
            raise SpecError(f"architecture '{self.spec}': {error}") from None
        return network
