"""What several verbs do with their options."""

import math
import sys
from contextlib import suppress
from pathlib import Path
from typing import Literal

from robusteval.core.errors import InputError

Samples = int | Literal["all"]


def samples(text: str | None) -> Samples | None:
    """A number of samples, or all."""
    if text is None or text == "all":
        return "all" if text else None
    if text.isdecimal() and int(text) >= 1:
        return int(text)
    raise InputError(f"samples={text!r}: must be a number of at least 1, or 'all'")


def numbers(name: str, text: str | None) -> tuple[float, ...] | None:
    """A comma list of numbers."""
    if text is None:
        return None
    with suppress(ValueError):
        values = tuple(float(part) for part in text.split(","))
        if all(map(math.isfinite, values)):
            return values
    raise InputError(f"{name}={text!r}: must be numbers between commas, as in 0.485,0.456,0.406")


def seeds(text: str) -> list[int]:
    """A comma list of whole numbers."""
    with suppress(ValueError):
        numbers = [int(part) for part in text.split(",")]
        if all(0 <= number < 2**63 for number in numbers):
            return numbers
    raise InputError(f"seeds={text!r}: must be whole numbers between commas, as in 0,1,2, from 0 to 2^63 - 1")


def severities(text: str | None) -> tuple[int, ...] | None:
    """Numbers and ranges between commas, as in 1-3,5; rising, each once."""
    if text is None:
        return None
    found = set[int]()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not (first.isdecimal() and (last or first).isdecimal()) or part.endswith("-"):
            raise InputError(f"severities={text!r}: must be numbers and ranges between commas, as in 1-3,5")
        found |= set(range(int(first), int(last or first) + 1))
    if not found:
        raise InputError(f"severities={text!r}: names none; a range rises, as in 1-5")
    return tuple(sorted(found))


def batch_size(text: str) -> int | None:
    """Rows of a pass; None for the device's usual."""
    if text == "auto":
        return None
    if text.isdecimal() and int(text) >= 1:
        return int(text)
    raise InputError(f"batch-size={text!r}: must be a number of at least 1, or 'auto'")


def checkpoints(named: list[str]) -> list[Path]:
    """The files of checkpoints and of folders of checkpoints.

    Raises:
        InputError: a path does not exist, or a folder has no checkpoint.
    """
    from robusteval.models.foreign import SUFFIXES

    found: list[Path] = []
    for text in named:
        path = Path(text)
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES and file.is_file())
            if not inside:
                raise InputError(f"checkpoint={text!r}: the folder has no file that ends in {', '.join(SUFFIXES)}")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise InputError(f"checkpoint={text!r}: there is no such file or folder")
    return list(dict.fromkeys(found))


def note(line: str) -> None:
    """Say something beside the result."""
    print(line, file=sys.stderr)
