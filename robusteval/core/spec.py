"""The one grammar that names components: `[provider:]name[(key=literal, ...)]`.

A literal is a number, a quotient of two numbers (kept as written), a string, a boolean, None, or a tuple or list of
literals. Nothing is evaluated: the text is parsed to a syntax tree and only these forms are read from it.
"""

import ast
import re
import sys
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from robusteval.core.errors import SpecError

_SHAPE = re.compile(
    r"(?:(?P<provider>[A-Za-z_][\w-]*):)?(?P<name>[A-Za-z_][\w.\-]*)\s*(?:\((?P<arguments>.*)\))?", re.DOTALL
)
_PIECE = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|.""", re.DOTALL)  # a quoted text, or one character


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
    parts, depth = [""], 0
    for piece in _PIECE.findall(text):
        depth += (piece in "([") - (piece in ")]")
        if piece == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += piece
    return [part.strip() for part in parts if part.strip()]


def _arguments(text: str, inside: str) -> tuple[tuple[str, Any], ...]:
    source = f"f({inside})"
    try:
        with warnings.catch_warnings():
            # What Python thinks of an odd escape concerns code, and a spec is data.
            warnings.simplefilter("ignore")
            call = ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        call = None
    # In `pgd(eps=1)(steps=2)` and its like the outer call is not the one that was opened here.
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        raise SpecError(f"spec {text!r}: the part in brackets must read key=value, key=value")
    if call.args or any(keyword.arg is None for keyword in call.keywords):
        raise SpecError(f"spec {text!r}: every argument needs its name, as in name(key=value)")
    keys = [str(keyword.arg) for keyword in call.keywords]
    for key in keys:
        if keys.count(key) > 1:
            raise SpecError(f"spec {text!r}: parameter {key!r} is given twice")
    values = [_literal(text, source, keyword.value) for keyword in call.keywords]
    return tuple(zip(keys, values, strict=True))


def _literal(text: str, source: str, node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=bool() | str() | None):
            return node.value
        case ast.Tuple(elts=items) | ast.List(elts=items):
            return tuple(_literal(text, source, item) for item in items)
        case ast.BinOp(left=left, op=ast.Div(), right=right) if (quotient := _quotient(left, right)) is not None:
            return quotient
        case ast.Name(id="true" | "false" | "none" as word):
            raise SpecError(f"spec {text!r}: write {word.capitalize()} with a capital letter")
        case ast.Name(id=word):
            raise SpecError(f"spec {text!r}: text needs quotes, as in '{word}'")
    number = _number(node)
    if number is None:
        allowed = "a number, quotient, string, True, False, None or tuple"
        raise SpecError(f"spec {text!r}: {ast.get_source_segment(source, node)!r} is not {allowed}")
    return number


def _number(node: ast.expr) -> int | float | None:
    """The number that a syntax tree is, if it is one and a float can hold it: inf has no literal to be written as."""
    negative = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)
    inner = node.operand if isinstance(node, ast.UnaryOp) and negative else node
    value = inner.value if isinstance(inner, ast.Constant) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > sys.float_info.max:
        return None
    return -value if negative else value


def _quotient(left: ast.expr, right: ast.expr) -> Quotient | None:
    numerator, denominator = _number(left), _number(right)
    if numerator is None or not denominator or abs(numerator / denominator) > sys.float_info.max:
        return None
    return Quotient(ast.unparse(left), ast.unparse(right))
