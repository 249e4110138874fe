"""Any network of the user's own: `python:package.module.factory(key=value)` imports a callable and calls it.

The factory is any function or class that returns a `torch.nn.Module`; parameters named `classes`, `num_classes` or
`shape` are given to it unless the spec gives them (after `hydra.utils.instantiate`, Yadan, 2019).
"""

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from robusteval.core.component import Provider
from robusteval.core.errors import SpecError, nearest
from robusteval.models.architecture import Architecture


@dataclass(frozen=True)
class Python(Provider, Architecture):
    """The network that an importable factory returns."""

    name: ClassVar[str] = "python"

    def build(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
        """Call the factory.

        Raises:
            SpecError: it cannot be imported, does not take the arguments, or returns no module.
        """
        factory = self._factory()
        known = {"classes": classes, "num_classes": classes, "shape": shape}
        try:
            signature = inspect.signature(factory)
            offered = {key: value for key, value in known.items() if key in signature.parameters}
            call = signature.bind(**{**offered, **dict(self.arguments)})
        except (TypeError, ValueError) as error:
            raise SpecError(f"architecture '{self.spec}': {error}") from None
        network = factory(*call.args, **call.kwargs)
        if not isinstance(network, nn.Module):
            raise SpecError(f"architecture '{self.spec}': returned {type(network).__name__}, not a torch.nn.Module")
        return network

    def _factory(self) -> Callable[..., Any]:
        module_name, _, attribute = self.target.rpartition(".")
        if not module_name:
            raise SpecError(f"architecture '{self.spec}': write python:package.module.factory")
        try:
            module = importlib.import_module(module_name)
        except ImportError as error:
            raise SpecError(f"architecture '{self.spec}': cannot import {module_name}: {error}") from None
        factory: Callable[..., Any] | None = getattr(module, attribute, None)
        if factory is None or not callable(factory):
            choices = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
            hint = nearest(attribute, choices)
            raise SpecError(f"architecture '{self.spec}': {module_name} has no callable {attribute!r}; {hint}")
        return factory
