"""Components: frozen dataclasses with a name and a version, found by walking their package, written as one spec.

One more attack, corruption, metric or data set is one new file: nothing lists them by hand. Other distributions add
theirs through the entry-point group `robusteval.components`, each entry point naming one component class.
"""

import importlib
import inspect
import pkgutil
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from importlib.metadata import entry_points
from typing import Any, ClassVar, Generic, Literal, Self, TypeGuard, TypeVar

from robusteval.core.errors import SpecError, nearest
from robusteval.core.spec import Spec, form

GROUP = "robusteval.components"


@dataclass(frozen=True)
class Component:
    """Anything that a spec can name.

    Attributes:
        name: the word in specs; equal to the module's file name with hyphens for underscores.
        version: raised when the component's results change, so that stored results are not reused.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1

    @property
    def spec(self) -> str:
        """The canonical spec: fields in declared order, those at their default left out."""
        values = [(field.name, getattr(self, field.name), field.default) for field in fields(self)]
        return form(
            self.name, [(key, value) for key, value, default in values if default is MISSING or value != default]
        )

    def __str__(self) -> str:
        return self.spec

    @classmethod
    def from_spec(cls, spec: Spec) -> Self:
        """Make the component a parsed spec describes.

        Raises:
            SpecError: a parameter is unknown, missing or of the wrong type.
        """
        hints, known = typing.get_type_hints(cls), {field.name: field for field in fields(cls)}
        given: dict[str, Any] = {}
        for key, value in spec.arguments:
            if key not in known:
                raise SpecError(f"spec '{spec}': {cls.name} has no parameter {key!r}; {_parameters(key, known)}")
            given[key] = _coerced(spec, key, value, hints[key])
        missing = [key for key, field in known.items() if key not in given and field.default is MISSING]
        if missing:
            raise SpecError(f"spec '{spec}': {cls.name} needs {missing[0]}, as in {cls.name}({missing[0]}=...)")
        return cls(**given)


@dataclass(frozen=True)
class Provider(Component):
    """A component that stands for another library's many, written `provider:target(key=value)`."""

    target: str
    arguments: tuple[tuple[str, Any], ...] = ()

    @property
    def spec(self) -> str:
        """The canonical spec, provider first."""
        return form(f"{self.name}:{self.target}", self.arguments)


C = TypeVar("C", bound=Component)


class Registry(Generic[C]):
    """The components of one kind: those of a package and those that entry points add."""

    def __init__(self, kind: str, base: type[C], package: str) -> None:
        """Describe a registry; nothing is imported until it is first asked.

        Args:
            kind: the word errors and `robusteval list` use.
            base: the contract that the components fulfil.
            package: the package whose modules hold them.
        """
        self.kind, self.base, self.package = kind, base, package

    @cached_property
    def classes(self) -> Mapping[str, type[C]]:
        """Every component class by its name, in alphabetical order."""
        found: dict[str, type[C]] = {}
        for cls in (*self._own(), *self._foreign()):
            if found.setdefault(cls.name, cls) is not cls:
                raise RuntimeError(f"two of kind {self.kind} are named {cls.name!r}: {found[cls.name]} and {cls}")
        return types.MappingProxyType(dict(sorted(found.items())))

    def __contains__(self, name: str) -> bool:
        return name in self.classes

    def parse(self, spec: "str | C") -> C:
        """The component that a spec names; a component is returned as it is.

        Raises:
            SpecError: no component has that name, or a parameter does not fit.
        """
        if isinstance(spec, self.base):
            return spec
        parsed = Spec.parse(str(spec))
        cls = self.classes.get(parsed.provider or parsed.name)
        if cls is None or issubclass(cls, Provider) is (parsed.provider is None):
            word = f"{parsed.provider}:NAME" if parsed.provider else parsed.name
            raise SpecError(f"unknown {self.kind} '{parsed}': {nearest(word, self._choices())}")
        if issubclass(cls, Provider):
            return cls(parsed.name, parsed.arguments)
        return cls.from_spec(parsed)

    def _choices(self) -> list[str]:
        return [f"{name}:NAME" if issubclass(cls, Provider) else name for name, cls in self.classes.items()]

    def _own(self) -> Iterator[type[C]]:
        package = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(package.__path__):
            if module.ispkg:
                continue
            path = f"{self.package}.{module.name}"
            for cls in vars(importlib.import_module(path)).values():
                if self._fits(cls) and cls.__module__ == path:
                    stem = cls.name.replace("-", "_")
                    if stem != module.name:
                        raise RuntimeError(f"component {cls.name!r} must stand in {stem}.py, not {module.name}.py")
                    yield cls

    def _foreign(self) -> Iterator[type[C]]:
        for point in entry_points(group=GROUP):
            cls = point.load()
            if not (inspect.isclass(cls) and issubclass(cls, Component) and "name" in vars(cls)):
                raise RuntimeError(f"the entry point {point.name!r} of {GROUP} is no component with a name: {cls}")
            if self._fits(cls):
                yield cls

    def _fits(self, cls: object) -> "TypeGuard[type[C]]":
        return inspect.isclass(cls) and issubclass(cls, self.base) and "name" in vars(cls)


def _parameters(key: str, known: Mapping[str, object]) -> str:
    return nearest(key, known) if known else "it takes none"


def _coerced(spec: Spec, key: str, value: Any, hint: Any) -> Any:
    """Check one literal against its field's annotation; whole numbers fit where a float is asked."""
    # `Literal[...] | None` is a typing.Union, `float | None` a types.UnionType.
    options = typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else (hint,)
    for option in options:
        fits, result = _fitted(value, option)
        if fits:
            return result
    wanted = " or ".join(_words(option) for option in options)
    raise SpecError(f"spec '{spec}': {key} must be {wanted}, not {value!r}")


def _words(option: Any) -> str:
    """An annotation as errors say it."""
    if typing.get_origin(option) is Literal:
        return " or ".join(repr(word) for word in typing.get_args(option))
    if typing.get_origin(option) is tuple:
        return f"a list of {_words(typing.get_args(option)[0])}"
    return "None" if option is types.NoneType else option.__name__ if inspect.isclass(option) else str(option)


def _fitted(value: Any, option: Any) -> tuple[bool, Any]:
    if option is Any:
        return True, value
    if typing.get_origin(option) is Literal:
        return value in typing.get_args(option), value
    if typing.get_origin(option) is tuple:
        inner = typing.get_args(option)[0]
        items = [_fitted(item, inner) for item in value] if isinstance(value, tuple) else [(False, None)]
        return all(fits for fits, _ in items), tuple(item for _, item in items)
    if option is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number, value if isinstance(value, float) else float(value) if number else None
    if option is int:
        return isinstance(value, int) and not isinstance(value, bool), value
    return isinstance(value, option), value
