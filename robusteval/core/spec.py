"""The one grammar that names components: `[provider:]name[(key=literal, ...)]`.

A literal is a number, a quotient of two numbers (kept as written), a string, a boolean, None, or a tuple or list of
literals. Nothing is evaluated: the text is parsed to a syntax tree and only these forms are read from it.
"""

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from robusteval.core.errors import SpecError

_SHAPE = re.compile(
    r"(?:(?P<provider>[A-Za-z_][\w-]*):)?(?P<name>[A-Za-z_][\w.\-]*)\s*(?:\((?P<arguments>.*)\))?", re.DOTALL
)


class Quotient(float):
    """A quotient of two numbers that remembers how it was written, so that 8/255 is never recorded as 0.031.

    >>> Quotient("8", "255"), Quotient("8", "255") == 8 / 255
    (8/255, True)
    """

    text: str

    def __new__(cls, numerator: str, denominator: str) -> Self:
        """Divide two numbers given as text."""
        value = super().__new__(cls, float(numerator) / float(denominator))
        value.text = f"{numerator}/{denominator}"
        return value

    def __repr__(self) -> str:
        return self.text

    def __reduce__(self) -> tuple[type[Self], tuple[str, ...]]:
        return type(self), tuple(self.text.split("/"))


@dataclass(frozen=True)
class Spec:
    """A parsed spec: a name, its arguments in the order written, and the provider before the colon."""

    name: str
    arguments: tuple[tuple[str, Any], ...] = ()
    provider: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read one spec.

        >>> Spec.parse("pgd(eps = 8/255, steps=20)").arguments
        (('eps', 8/255), ('steps', 20))
        """
        match = _SHAPE.fullmatch(text.strip())
        if match is None:
            raise SpecError(f"spec {text!r}: expected name or name(key=value, ...)")
        return cls(match["name"], _arguments(text, match["arguments"] or ""), match["provider"])

    def __str__(self) -> str:
        return form(f"{self.provider}:{self.name}" if self.provider else self.name, self.arguments)


def form(name: str, arguments: Iterable[tuple[str, Any]]) -> str:
    """The canonical text of a name with arguments.

    >>> form("fgsm", [("eps", Quotient("8", "255"))])
    'fgsm(eps=8/255)'
    """
    inside = ", ".join(f"{key}={value!r}" for key, value in arguments)
    return f"{name}({inside})" if inside else name


def split(text: str) -> list[str]:
    """Split a comma list outside brackets and quotes.

    >>> split("erm, mixup(alpha=0.2, mode='a,b')")
    ['erm', "mixup(alpha=0.2, mode='a,b')"]
    """
    parts, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "([":
            depth += 1
        elif character in ")]":
            depth -= 1
        elif character == "," and depth == 0:
            parts.append("")
            continue
        parts[-1] += character
    return [part.strip() for part in parts if part.strip()]


def _arguments(text: str, inside: str) -> tuple[tuple[str, Any], ...]:
    try:
        call = ast.parse(f"f({inside})", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise SpecError(f"spec {text!r}: the part in brackets must read key=value, key=value") from None
    if not isinstance(call, ast.Call) or call.args or any(keyword.arg is None for keyword in call.keywords):
        raise SpecError(f"spec {text!r}: every argument needs its name, as in name(key=value)")
    return tuple((str(keyword.arg), _literal(text, keyword.value)) for keyword in call.keywords)


def _literal(text: str, node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=bool() | int() | float() | str() | None):
            return node.value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
        case ast.Tuple(elts=items) | ast.List(elts=items):
            return tuple(_literal(text, item) for item in items)
        case ast.BinOp(left=left, op=ast.Div(), right=right) if (parts := _quotient(left, right)) is not None:
            return Quotient(*parts)
        case ast.Name(id="true" | "false" | "none" as word):
            raise SpecError(f"spec {text!r}: write {word.capitalize()} with a capital letter")
        case ast.Name(id=word):
            raise SpecError(f"spec {text!r}: text needs quotes, as in '{word}'")
        case _:
            allowed = "a number, quotient, string, True, False, None or tuple"
            raise SpecError(f"spec {text!r}: {ast.unparse(node)!r} is not {allowed}")


def _quotient(left: ast.expr, right: ast.expr) -> tuple[str, str] | None:
    parts = [ast.unparse(node) for node in (left, right)]
    if any(re.fullmatch(r"-?\d+(\.\d*)?(e-?\d+)?", part) is None for part in parts) or float(parts[1]) == 0:
        return None
    return parts[0], parts[1]
