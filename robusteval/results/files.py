"""The files of a record: whole or not there at all, and checked when they are read."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from robusteval.core import files
from robusteval.core.errors import RecordError

_FACTS = b"robusteval"


def write(path: Path, writer: Callable[[BinaryIO], object]) -> None:
    """Let `writer` fill a file that appears under its name only when it is whole.

    Raises:
        RecordError: the disk is full or the place cannot be written.
    """
    files.write(path, writer, RecordError, "; what was finished before is kept, and the same command goes on there")


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
    # The default is a dictionary for each column, and one of floats is longer than they are.
    encoding = {name: _encoding(kind) for name, kind in _leaves(table.schema) if _encoding(kind)}
    how = {"compression": "zstd", "compression_level": 9, "use_dictionary": False, "write_statistics": False}
    write(path, lambda file: pq.write_table(table, file, write_page_checksum=True, column_encoding=encoding, **how))


def _encoding(kind: pa.DataType) -> str | None:
    if pa.types.is_floating(kind):
        return "BYTE_STREAM_SPLIT"
    return "DELTA_BINARY_PACKED" if pa.types.is_integer(kind) else None


def _leaves(schema: pa.Schema) -> list[tuple[str, pa.DataType]]:
    """The columns as Parquet names them: what a list holds is a column of its own."""
    return [
        (f"{field.name}.list.element", field.type.value_type)
        if pa.types.is_list(field.type)
        else (field.name, field.type)
        for field in schema
    ]


def read_frame(path: Path, columns: list[str] | None = None) -> tuple[pd.DataFrame, dict[str, Any]]:
    """A frame, or some of its columns, and its facts.

    Raises:
        RecordError: the file is missing or damaged.
    """
    try:
        table = pq.read_table(path, columns=columns, page_checksum_verification=True)
        return table.to_pandas(), json.loads((table.schema.metadata or {}).get(_FACTS, b"{}"))
    except FileNotFoundError:
        raise RecordError(f"{path} is missing: its run did not end; run the same command again") from None
    except (OSError, ValueError, pa.ArrowException) as error:  # the first, without a number, is Arrow's too
        if isinstance(error, OSError) and error.errno is not None:
            raise RecordError(f"{path} cannot be read: {error.strerror}") from None
        raise RecordError(f"{path} is damaged: delete it and run the same command again") from None
