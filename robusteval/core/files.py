"""Writing that never leaves half a file: to a temporary name, synced, renamed."""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from robusteval.core.errors import InputError, RobustevalError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def check_writable(argument: str, folder: Path) -> None:
    """Find out before hours of work, not after, that nothing can be written to a folder.

    Raises:
        InputError: the folder, or the nearest one above it that exists, is a file or not writable.
    """
    nearest = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        reason = "not writable" if nearest.is_dir() else "a file"
        raise InputError(f"{argument}={str(folder)!r}: {nearest} is {reason}; name another folder with --{argument}")


def write(path: Path, writer: Callable[[BinaryIO], object], kind: type[RobustevalError], advice: str = "") -> None:
    """Let `writer` fill a file that appears under its name only when it is whole.

    Args:
        path: of the file; missing folders are made.
        writer: fills the open file.
        kind: of the error where the disk is full or the place cannot be written.
        advice: the end of that error's line.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            writer(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        reason = "the disk is full" if error.errno in _FULL else (error.strerror or str(error))
        raise kind(f"{path} cannot be written: {reason}{advice}") from None
