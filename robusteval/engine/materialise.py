"""Sets of corrupted images on disk, in the layout of the published ones, shard by shard."""

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from robusteval import __version__
from robusteval.core import files
from robusteval.core.errors import DataError, require
from robusteval.core.rng import Stream
from robusteval.corruptions import Corruption
from robusteval.data import Split
from robusteval.data.official import MANIFEST
from robusteval.engine.plan import SHARD

_ADVICE = "; what was finished before is kept, and the same command goes on there"


@dataclass(frozen=True)
class Materialise:
    """A set to be written.

    Attributes:
        split: the clean images.
        corruptions: each with the severities that are wanted.
        folder: where the set goes.
        pictures: whether it is one of pictures in folders, and not of arrays.
        seed: of every random number.
        device: where the images are made.
    """

    split: Split
    corruptions: Sequence[tuple[Corruption, tuple[int, ...]]]
    folder: Path
    pictures: bool = False
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        shape = self.split.shape
        rule = "corruptions are of grey or colour images, [n, 1 or 3, height, width]"
        require(shape[0] in (1, 3) and max(shape[1:]) > 1, "data", rule, (len(self.split), *shape))
        for corruption, severities in self.corruptions:
            wrong = [each for each in severities if not 1 <= each <= corruption.severities]
            rule = f"{corruption.name} has the severities 1..{corruption.severities}"
            require(not wrong, "severities", rule, wrong[0] if wrong else None)

    @property
    def pieces(self) -> list["Piece"]:
        """What appears under its name at once: a file with all severities of a corruption, or one severity."""
        found: list[Piece] = []
        for corruption, severities in self.corruptions:
            stem = corruption.name.replace("-", "_")
            if self.pictures:
                places = [((each,), self.folder / stem / str(each)) for each in severities]
                found += [Pictures(self, corruption, *place) for place in places]
            elif len(severities) == corruption.severities:
                found.append(Array(self, corruption, severities, self.folder / f"{stem}.npy"))
            else:
                places = [((each,), self.folder / stem / f"{each}.npy") for each in severities]
                found += [Array(self, corruption, *place) for place in places]
        return found

    def prepare(self) -> None:
        """Write what belongs to all corruptions: labels, ids, and what the set is.

        Raises:
            DataError: the folder holds something else, or a set with other settings.
        """
        path = self.folder / MANIFEST
        facts = self._facts
        if path.is_file():
            facts = _continued(path, facts)
        elif self.folder.is_dir() and any(self.folder.iterdir()):
            raise DataError(f"out={str(self.folder)!r}: the folder is not empty and no set made here: name another")
        whole = {**facts, "robusteval": __version__, "pillow": version("pillow")}
        _write(path, lambda file: file.write((json.dumps(whole, indent=2, sort_keys=True) + "\n").encode()))
        if not self.pictures and not (self.folder / "labels.npy").exists():
            repeats = max(corruption.severities for corruption, _ in self.corruptions)
            _write(self.folder / "labels.npy", partial(np.save, arr=np.tile(self.split.labels.numpy(), repeats)))
            if not torch.equal(self.split.ids, torch.arange(len(self.split))):
                _write(self.folder / "ids.npy", partial(np.save, arr=self.split.ids.numpy()))

    def levels(self, corruption: Corruption, severity: int, rows: slice) -> Tensor:
        """A shard of corrupted images, [n, h, w, c] uint8."""
        x, _, ids = (tensor.to(self.device) for tensor in self.split.batch(rows))
        changed = corruption(x, severity, ids, Stream.seeded(self.seed))
        return changed.mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu()

    @property
    def _facts(self) -> dict[str, Any]:
        layout = "pictures" if self.pictures else "arrays"
        made = {each.name: {"family": each.family, "version": each.version} for each, _ in self.corruptions}
        return {"data": self.split.digest, "seed": self.seed, "layout": layout, "corruptions": made}


@dataclass(frozen=True)
class Piece(ABC):
    """A part of a set: made under a temporary name, shard by shard, renamed when it is whole."""

    job: Materialise
    corruption: Corruption
    severities: tuple[int, ...]
    place: Path

    @property
    def shards(self) -> int:
        """How many shards there are."""
        return len(self.severities) * self._per_severity

    @property
    def done(self) -> int:
        """How many are stored."""
        if self.place.exists():
            return self.shards
        return int(self._progress.read_text()) if self._progress.is_file() and self.unfinished.exists() else 0

    def write(self, step: Callable[[], object]) -> None:
        """Do what is missing; `step` is called after each shard."""
        done = self.done
        if done == self.shards:
            return
        with _told(self.place):
            self.place.parent.mkdir(parents=True, exist_ok=True)
            if done == 0:
                self.start()
            for shard in range(done, self.shards):
                which, part = divmod(shard, self._per_severity)
                rows = slice(part * SHARD, min(len(self.job.split), (part + 1) * SHARD))
                self.store(which, rows, self.job.levels(self.corruption, self.severities[which], rows))
                files.write(self._progress, partial(_count, shard + 1), DataError)
                step()
            self.unfinished.replace(self.place)
            self._progress.unlink()

    @abstractmethod
    def start(self) -> None:
        """Make the room."""

    @abstractmethod
    def store(self, which: int, rows: slice, levels: Tensor) -> None:
        """Keep a shard of the severity with this number, so that it is on disk afterwards."""

    @property
    def unfinished(self) -> Path:
        """The temporary name."""
        return self.place.with_name(f".{self.place.name}.unfinished")

    @property
    def _progress(self) -> Path:
        return self.place.with_name(f".{self.place.name}.progress")

    @property
    def _per_severity(self) -> int:
        return -(-len(self.job.split) // SHARD)


class Array(Piece):
    """A .npy file of one or more severities, one after the other."""

    def start(self) -> None:
        """Reserve the space, so that a full disk is known now."""
        channels, height, width = self.job.split.shape
        shape = (len(self.severities) * len(self.job.split), height, width, channels)
        self.unfinished.unlink(missing_ok=True)
        np.lib.format.open_memmap(self.unfinished, "w+", np.uint8, shape).flush()
        with self.unfinished.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, self.unfinished.stat().st_size)

    def store(self, which: int, rows: slice, levels: Tensor) -> None:
        """Write rows."""
        array = np.lib.format.open_memmap(self.unfinished, "r+")
        first = which * len(self.job.split)
        array[first + rows.start : first + rows.stop] = levels.numpy()
        array.flush()


class Pictures(Piece):
    """A folder of PNG files, one folder per class; a name is the sample's id."""

    def start(self) -> None:
        """Make the folders of all classes, those without a picture too."""
        for name in self._classes:
            (self.unfinished / name).mkdir(parents=True, exist_ok=True)

    def store(self, which: int, rows: slice, levels: Tensor) -> None:
        """Write pictures."""
        names, split = self._classes, self.job.split.rows(rows)
        for pixels, label, sample in zip(levels, split.labels.tolist(), split.ids.tolist(), strict=True):
            picture = Image.fromarray((pixels[..., 0] if pixels.shape[2] == 1 else pixels).numpy())
            picture.save(self.unfinished / names[label] / f"{sample:08d}.png", compress_level=1)

    @property
    def _classes(self) -> list[str]:
        """The classes' names, or their numbers where a name is none for a folder."""
        names = self.job.split.classes
        plain = len(set(names)) == len(names) and not any("/" in name or name.startswith(".") for name in names)
        return list(names) if plain else [f"{label:05d}" for label in range(len(names))]


def run(job: Materialise, bar: Callable[[int, int], Any]) -> Iterator[Path]:
    """Write a set, and yield each part's path once it is whole.

    Args:
        job: the set.
        bar: makes a progress bar from the number of shards and of those that are stored; it has `update`.
    """
    job.prepare()
    pieces = job.pieces
    with bar(sum(piece.shards for piece in pieces), sum(piece.done for piece in pieces)) as shown:
        for piece in pieces:
            piece.write(shown.update)
            yield piece.place


def _continued(path: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """The facts of a set that has been begun with the same settings, and of what is to be added."""
    try:
        before = json.loads(path.read_text())
        made = dict(before["corruptions"])
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{path} is damaged: name another folder with --out") from None
    changed = [name for name in ("data", "seed", "layout") if before.get(name) != facts[name]]
    for name, told in facts["corruptions"].items():
        changed += [f"{key} of {name}" for key, value in told.items() if made.get(name, told).get(key) != value]
    if changed:
        raise DataError(f"out={str(path.parent)!r}: holds a set with another {changed[0]}: name another folder")
    return {**facts, "corruptions": {**made, **facts["corruptions"]}}


def _count(number: int, file: BinaryIO) -> None:
    file.write(str(number).encode())


def _write(path: Path, writer: Callable[[Any], object]) -> None:
    files.write(path, writer, DataError, _ADVICE)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What the disk refuses, in one line."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}{_ADVICE}") from None


def chosen(
    corruptions: Iterable[Corruption], severities: tuple[int, ...] | None
) -> list[tuple[Corruption, tuple[int, ...]]]:
    """Corruptions with the severities asked for, or with all of theirs."""
    return [(each, severities or tuple(range(1, each.severities + 1))) for each in corruptions]
