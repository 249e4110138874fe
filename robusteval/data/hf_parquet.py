"""Parquet files of encoded pictures as Hugging Face stores image data sets (huggingface.co/docs/hub/datasets-image)."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from robusteval.core.errors import DataError
from robusteval.data.dataset import OwnDataSet, Split, SplitName
from robusteval.data.pictures import decoded
from robusteval.data.places import existing, part, parts, reading

_IMAGES = ("image", "img")
_LABELS = ("label", "labels", "fine_label")
_ROWS = 256


@dataclass(frozen=True)
class HfParquet(OwnDataSet):
    """A parquet file, or a folder of them whose names say the split, as in `train-00000-of-00002.parquet`.

    The pictures are in the column `image` or `img`, the classes in `label`, `labels` or `fine_label`. Files whose names
    say nothing are the test split; `validation` serves where there is no `test`.

    Attributes:
        size: resize the shorter side to this many pixels and crop the centre; None asks that all have one size.
    """

    name: ClassVar[str] = "hf-parquet"

    size: int | None = None

    def load(self, split: SplitName) -> Split:
        """Decode the split's pictures, file by file in the order of their names."""
        splits = _splits(existing("path", self.path))
        files = part(self.path, splits, split)
        images, label = _column(files[0], _IMAGES), _column(files[0], _LABELS)
        labels = _labels(files, label)
        names = _names(files[0], label) or _numbers(chain.from_iterable(splits.values()), label)
        pictures = decoded(_pictures(files, images), len(labels), self.size)
        return Split.of(pictures, torch.from_numpy(labels), names)


def _splits(path: Path) -> dict[SplitName, list[Path]]:
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{path} holds no parquet file")
    root = path if path.is_dir() else path.parent
    words = {file: re.split(r"[\W_]+", str(file.relative_to(root))) for file in files}
    return parts(lambda word: [file for file in files if word in words[file]]) or {"test": files}


def _column(file: Path, choices: tuple[str, ...]) -> str:
    columns = _schema(file).names
    found = [name for name in choices if name in columns]
    if not found:
        raise DataError(f"{file} has no column {' or '.join(choices)}; its columns are {', '.join(columns)}")
    return found[0]


def _labels(files: Iterable[Path], column: str) -> NDArray[Any]:
    from pyarrow import parquet, types

    labels = []
    for file in files:
        with reading(file):
            values = parquet.read_table(file, columns=[column])[column]
        if values.null_count or not types.is_integer(values.type):
            raise DataError(f"{file}: the column {column} must hold an integer in every row")
        labels.append(values.to_numpy())
    return np.concatenate(labels)


def _numbers(files: Iterable[Path], column: str) -> tuple[str, ...]:
    """Names where the files give none: the numbers up to the largest label of any split."""
    return tuple(str(label) for label in range(1 + int(_labels(files, column).max(initial=0))))


def _names(file: Path, column: str) -> tuple[str, ...]:
    """The names that Hugging Face keeps beside the schema for a column of its type ClassLabel."""
    described = (_schema(file).metadata or {}).get(b"huggingface", b"{}")
    with reading(file, AttributeError, TypeError):
        names = json.loads(described).get("info", {}).get("features", {}).get(column, {}).get("names")
        return tuple(str(name) for name in names or ())


def _schema(file: Path) -> Any:
    from pyarrow import parquet

    with reading(file):
        return parquet.read_schema(file)


def _pictures(files: Iterable[Path], column: str) -> Iterator[tuple[str, bytes]]:
    for file in files:
        for row, cell in enumerate(_cells(file, column)):
            data = cell["bytes"] if isinstance(cell, dict) and "bytes" in cell else cell
            if not isinstance(data, bytes):
                raise DataError(f"{file} row {row} holds no picture in {column}: encoded bytes are needed")
            yield f"{file} row {row}", data


def _cells(file: Path, column: str) -> Iterator[Any]:
    from pyarrow import parquet

    with reading(file), parquet.ParquetFile(file) as table:
        for batch in table.iter_batches(_ROWS, columns=[column]):
            yield from batch.column(0).to_pylist()
