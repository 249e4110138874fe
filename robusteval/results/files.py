"""Writing that never leaves half a file: to a temporary name, synced, renamed."""

import errno
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from robusteval.core.errors import RecordError

_FACTS = b"robusteval"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write(path: Path, writer: Callable[[BinaryIO], object]) -> None:
    """Let `writer` fill a file that appears under its name only when it is whole.

    Raises:
        RecordError: the disk is full or the place cannot be written.
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
        raise RecordError(
            f"{path} cannot be written: {reason}; what was finished before is kept, and the same command goes on there"
        ) from None


def clear(folder: Path) -> None:
    """Remove the temporary files of processes that were killed while they wrote."""
    for leftover in folder.rglob(".*.tmp"):
        process = leftover.name.split(".")[-2]
        if not (process.isdecimal() and Path(f"/proc/{process}").exists()):
            leftover.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text."""
    write(path, lambda file: file.write(text.encode()))


def write_frame(path: Path, frame: pd.DataFrame, facts: dict[str, Any] | None = None) -> None:
    """Write a frame as Parquet; equal frames and facts give equal bytes."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.replace_schema_metadata({_FACTS: json.dumps(facts or {}, sort_keys=True).encode()})
    write(path, lambda file: pq.write_table(table, file, compression="zstd", write_page_checksum=True))


def read_frame(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """A frame and its facts.

    Raises:
        RecordError: the file is missing or damaged.
    """
    try:
        table = pq.read_table(path, page_checksum_verification=True)
        return table.to_pandas(), json.loads((table.schema.metadata or {}).get(_FACTS, b"{}"))
    except FileNotFoundError:
        raise RecordError(f"{path} is missing: its run did not end; run the same command again") from None
    except (OSError, ValueError) as error:  # Arrow raises the first, without a number, for damage deep inside
        if isinstance(error, OSError) and error.errno is not None:
            raise RecordError(f"{path} cannot be read: {error.strerror}") from None
        raise RecordError(f"{path} is damaged: delete it and run the same command again") from None
