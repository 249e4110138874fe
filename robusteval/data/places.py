"""Where data lie: paths that must exist, the user's cache, downloads, and damage reported as the user's to mend."""

import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from robusteval.core.errors import DataError
from robusteval.data.dataset import SplitName, missing

T = TypeVar("T")

# What a split may be called on disk, the best word first: a validation part serves where there is no test part.
WORDS: Mapping[SplitName, tuple[str, ...]] = {
    "train": ("train", "training"),
    "test": ("test", "testing", "validation", "valid", "val"),
}

_DAMAGE: tuple[type[Exception], ...] = (
    OSError,
    EOFError,
    ValueError,
    SyntaxError,  # how Pillow reports a broken PNG
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
    tarfile.TarError,
    pickle.UnpicklingError,
)


def cache() -> Path:
    """The folder that downloads go to where the user names none."""
    return Path.home() / ".cache" / "robusteval" / "data"


DOWNLOADED = "make the folder, or leave root out, and the data are downloaded"


def existing(argument: str, path: str, remedy: str = "") -> Path:
    """The path the user gave for `argument`.

    Raises:
        DataError: nothing is there; `remedy` says what gets the data.
    """
    found = Path(path).expanduser()
    if not found.exists():
        raise DataError(f"{argument}={path!r}: there is no such file or folder" + (remedy and f"; {remedy}"))
    return found


def parts(match: Callable[[str], T | None]) -> dict[SplitName, T]:
    """For each split what `match` finds by the best of the split's words, where it finds anything."""
    found = {split: [item for word in words if (item := match(word))] for split, words in WORDS.items()}
    return {split: items[0] for split, items in found.items() if items}


def part(place: object, splits: Mapping[SplitName, T], split: SplitName) -> T:
    """What the data set at `place` holds for the split.

    Raises:
        DataError: the split is not there; the error says which are.
    """
    if split not in splits:
        raise DataError(f"{place} has no {split} split" + (f", only {' and '.join(splits)}" if splits else ""))
    return splits[split]


@contextmanager
def reading(place: object, *also: type[Exception]) -> Iterator[None]:
    """Turn what a damaged file makes its reader raise (`also`: this reader's own ways) into a DataError."""
    damage = _DAMAGE + also
    try:
        yield
    except damage as error:
        raise DataError(f"{place} cannot be read: {_one_line(error)}") from error


def fetch(name: str, urls: Mapping[str, str], folder: Path, searched: Sequence[Path], command: str) -> None:
    """Download files into `folder`; a file appears there complete and checked, or not at all.

    Args:
        name: the data set, for the error.
        urls: the md5 sum of each file by its address.
        folder: where the files go.
        searched: where they were looked for before, for the error.
        command: what gets the data by hand, for the error.

    Raises:
        DataError: the download failed.
    """
    try:
        for url, md5 in urls.items():
            _download(url, md5, folder)
    except (OSError, RuntimeError, HTTPException) as error:
        remedy = f"downloading it failed ({_one_line(error)}); get it with: {command}"
        raise missing(name, [str(place) for place in searched], remedy) from error


def _download(url: str, md5: str, folder: Path) -> None:
    from torchvision.datasets.utils import download_url  # heavy, and needed for a download only

    file = url.rpartition("/")[2]
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder) as unfinished:
        download_url(url, unfinished, file, md5)
        (Path(unfinished) / file).replace(folder / file)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
