"""Suites and recipes: TOML files found by name or path, checked by pydantic; errors name the line."""

import re
import tomllib
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from robusteval.core.errors import InputError, nearest

Model = TypeVar("Model", bound=BaseModel)


def suites() -> Path:
    """Where named files live: packaged, or beside the package in an editable installation."""
    package = Path(__file__).parents[1]
    packaged = package / "suites"
    return packaged if packaged.is_dir() else package.parent / "suites"


def find(kind: str, name: str, where: Path) -> Path:
    """The TOML file that a name, or a path ending in `.toml`, means.

    Raises:
        InputError: there is no such file.
    """
    path = Path(name) if name.endswith(".toml") else where / f"{name}.toml"
    if path.is_file():
        return path
    known = nearest(name, [file.stem for file in where.glob("*.toml")])
    raise InputError(f"{kind}={name!r}: there is no such file or name; {known}")


def read(path: Path, model: type[Model], extra: Mapping[str, Any] | None = None) -> Model:
    """Read a TOML file into a pydantic model; `extra` adds or replaces keys.

    Raises:
        InputError: the file does not parse or does not fit; the line is named.
    """
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: {error}") from None
    try:
        return model.model_validate({**values, **(extra or {})})
    except ValidationError as error:
        raise InputError(_explained(path, text, model, error, extra or {})) from None


def line_of(text: str, part: str) -> int:
    """The first line, from 1, that holds a part; 1 where none does."""
    return next((number for number, line in enumerate(text.splitlines(), 1) if part and part in line), 1)


def _explained(path: Path, text: str, model: type[BaseModel], error: ValidationError, extra: Mapping[str, Any]) -> str:
    fault = error.errors()[0]
    place = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "missing":
        return f"{path}: {place}: is required"
    key = str(fault["loc"][-1])
    known = nearest(key, _keys(model)) if fault["type"] == "extra_forbidden" else f"given {fault['input']!r}"
    line = None if fault["loc"][0] in extra else _line(text, fault["loc"])
    return f"{path}{'' if line is None else f', line {line}'}: {place}: {fault['msg']}; {known}"


def _line(text: str, place: tuple[str | int, ...]) -> int | None:
    """The line, from 1, of the key at a place such as ("views", 1, "samples"), as far as the text has it."""
    lines, line = text.splitlines(), None
    for key, number in pairwise((*place, 0)):
        pattern = re.compile(rf"""[^#]*(?<![\w-])["']?{re.escape(str(key))}["']?\s*(=|\.|\])""")
        found = [at for at, content in enumerate(lines, 1) if at >= (line or 1) and pattern.match(content)]
        if isinstance(key, str) and found:
            # A table of an array is the header of that number; an array in brackets is on one line.
            line = found[number] if isinstance(number, int) and number < len(found) else found[0]
    return line


def _keys(model: type[BaseModel]) -> set[str]:
    """The keys of a model and of the models in it."""
    keys = set(model.model_fields)
    for field in model.model_fields.values():
        for inner in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                keys |= _keys(inner)
    return keys
