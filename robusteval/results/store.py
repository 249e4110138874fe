"""A report folder: append shards, join them into cells, resume, refuse what another version wrote."""

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor

from robusteval.core.errors import RecordError
from robusteval.results import files
from robusteval.results.schema import FORMAT, METRIC_COLUMNS

ImageFiles = Literal["npz", "png"]
"""How all images of a cell are kept: float arrays shard by shard, or one 8-bit picture per sample."""

ID_LENGTH = 16
"""Hex digits of a cell's key in file names."""


@dataclass(frozen=True)
class Facts:
    """What a cell costs and whether to believe it, stored with its rows.

    Attributes:
        forwards: images passed forward.
        backwards: images passed backward.
        signs: how many samples show each sign that the number is not to be believed, of how many (TRUST R15).
        notes: what else a reader of the number should know.
        by: what computed it: versions, and rows of a pass.
    """

    forwards: int = 0
    backwards: int = 0
    signs: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    by: tuple[str, ...] = ()

    def __add__(self, other: "Facts") -> "Facts":
        notes, by = (tuple(sorted({*mine, *yours})) for mine, yours in ((self.notes, other.notes), (self.by, other.by)))
        names = sorted({*self.signs, *other.signs})
        signs = {name: _added(self.signs.get(name, (0, 0)), other.signs.get(name, (0, 0))) for name in names}
        return Facts(self.forwards + other.forwards, self.backwards + other.backwards, signs, notes, by)


@dataclass(frozen=True)
class Store:
    """The files of one report folder. Several processes may write shards of different cells at once."""

    folder: Path

    @classmethod
    def opened(cls, folder: Path, run: Mapping[str, Any]) -> "Store":
        """Start or continue a report folder and write what the run is.

        Raises:
            RecordError: the folder holds something else, or a report of another format version.
        """
        if (folder / "run.json").exists():
            cls.check(folder)
        elif folder.is_dir() and any(entry for entry in folder.iterdir() if not entry.name.startswith(".")):
            raise RecordError(f"out={str(folder)!r}: the folder is not empty and not a report; name another with --out")
        elif folder.exists() and not folder.is_dir():
            raise RecordError(f"out={str(folder)!r}: must be a folder, and a file of that name exists")
        files.clear(folder)
        files.write_text(folder / "run.json", json.dumps({"format": FORMAT, **run}, indent=2, sort_keys=True) + "\n")
        return cls(folder)

    @classmethod
    def check(cls, folder: Path, advice: str = "name another folder with --out") -> dict[str, Any]:
        """What `run.json` of an existing report says; `advice` ends the line of an error.

        Raises:
            RecordError: there is none, it is damaged, or another format version wrote it.
        """
        path = folder / "run.json"
        try:
            run = json.loads(path.read_text())
            version = run["format"]
        except FileNotFoundError:
            raise RecordError(f"{folder} is not a report folder: it has no run.json") from None
        except (OSError, ValueError, KeyError, TypeError):
            raise RecordError(f"{path} is damaged; {advice}") from None
        if version != FORMAT:
            raise RecordError(f"{folder} has report format {version}, this robusteval writes {FORMAT}; {advice}")
        return dict(run)

    def has(self, cell: str) -> bool:
        """Whether the cell is finished."""
        return self._cell(cell).exists()

    def has_shard(self, cell: str, shard: int) -> bool:
        """Whether that shard of an unfinished cell is stored."""
        return self._shard(cell, shard).exists()

    def write_shard(self, cell: str, shard: int, frame: pd.DataFrame, facts: Facts) -> None:
        """Store one shard of a cell."""
        files.write_frame(self._shard(cell, shard), frame, _as_json(facts))

    def finish(self, cell: str, shards: int) -> None:
        """Join the shards of a cell, in order, into its one file; what a crash left behind is cleared."""
        if not self.has(cell):
            self._join(cell, shards)
        shutil.rmtree(self._shard(cell, 0).parent, ignore_errors=True)
        with suppress(OSError):  # other cells still have shards there
            (self.folder / "shards").rmdir()

    def _join(self, cell: str, shards: int) -> None:
        parts = [files.read_frame(self._shard(cell, shard)) for shard in range(shards)]
        facts = sum((_from_json(facts) for _, facts in parts), Facts())
        frame = pd.concat([frame for frame, _ in parts], ignore_index=True)
        files.write_frame(self._cell(cell), frame, _as_json(facts))

    def read(self, cell: str) -> tuple[pd.DataFrame, Facts]:
        """The rows of a finished cell."""
        frame, facts = files.read_frame(self._cell(cell))
        return frame, _from_json(facts)

    def read_columns(self, cell: str, columns: list[str] | None = None) -> pd.DataFrame:
        """Some columns of the rows of a finished cell, or all."""
        return files.read_frame(self._cell(cell), columns)[0]

    def write_csv(self, name: str, frame: pd.DataFrame) -> None:
        """Write a table for readers: the record does not depend on it."""
        files.write_text(self.folder / f"{name}.csv", frame.to_csv(index=False))

    def write_examples(self, cell: str, examples: Mapping[str, Tensor]) -> None:
        """Store a few images of a cell."""
        payload = safetensors.torch.save({name: tensor.contiguous().cpu() for name, tensor in examples.items()})
        files.write(self.folder / "examples" / f"{cell[:ID_LENGTH]}.safetensors", lambda file: file.write(payload))

    def write_grid(self, cell: str, shard: int, name: str, grid: pd.DataFrame) -> None:
        """Store what a shard adds to a landscape."""
        files.write_frame(self.folder / "grids" / cell[:ID_LENGTH] / f"{name}-{shard:06d}.parquet", grid)

    def read_grids(self, cell: str) -> dict[str, list[pd.DataFrame]]:
        """The landscapes of a cell by name, each shard by shard."""
        found: dict[str, list[pd.DataFrame]] = {}
        for path in sorted((self.folder / "grids" / cell[:ID_LENGTH]).glob("*.parquet")):
            found.setdefault(path.stem.rpartition("-")[0], []).append(files.read_frame(path)[0])
        return found

    def write_images(self, cell: str, shard: int, kind: ImageFiles, images: Tensor, ids: Tensor) -> None:
        """Store all images [n, c, h, w] of a shard: as they are in one file, or each rounded to 8 bits in its own."""
        folder = self.folder / "adversarial" / cell[:ID_LENGTH]
        if kind == "npz":
            save = partial(np.savez, images=images.cpu().numpy(), samples=ids.cpu().numpy())
            files.write(folder / f"{shard:06d}.npz", save)
            return
        for image, sample in zip(images.mul(255).round().to(torch.uint8).cpu(), ids.tolist(), strict=True):
            pixels = image[0] if len(image) == 1 else image.permute(1, 2, 0)
            picture = Image.fromarray(pixels.contiguous().numpy())
            files.write(folder / f"{sample:06d}.png", partial(picture.save, format="png"))

    def write_table(self, name: str, frame: pd.DataFrame, csv: bool = False) -> None:
        """Write one of the record's own tables, as CSV too where asked."""
        files.write_frame(self.folder / f"{name}.parquet", frame)
        if csv:
            files.write_text(self.folder / f"{name}.csv", frame.to_csv(index=False))

    def read_table(self, name: str) -> pd.DataFrame:
        """Read one of the record's own tables."""
        return files.read_frame(self.folder / f"{name}.parquet")[0]

    def read_typed(self, name: str, columns: Mapping[str, str]) -> pd.DataFrame:
        """One of the record's own tables with its types; empty where the record is older than the table."""
        if not (self.folder / f"{name}.parquet").exists():
            return pd.DataFrame(columns=list(columns)).astype(dict(columns))
        return self.read_table(name).astype(dict(columns))

    def read_metrics(self) -> pd.DataFrame:
        """The table `metrics` with its own types."""
        metrics = self.read_table("metrics")
        if "origin" not in metrics:  # a record of before stored sets could be read
            metrics = metrics.assign(origin=metrics["kind"].map({"corruption": "generated"}))
        return metrics[[*METRIC_COLUMNS]].astype(METRIC_COLUMNS)

    def _cell(self, cell: str) -> Path:
        return self.folder / "samples" / f"{cell[:ID_LENGTH]}.parquet"

    def _shard(self, cell: str, shard: int) -> Path:
        return self.folder / "shards" / cell[:ID_LENGTH] / f"{shard:06d}.parquet"


def _as_json(facts: Facts) -> dict[str, Any]:
    return asdict(facts)


def _from_json(facts: Mapping[str, Any]) -> Facts:
    signs = {name: (int(count), int(of)) for name, (count, of) in facts.get("signs", {}).items()}
    return Facts(facts["forwards"], facts["backwards"], signs, tuple(facts.get("notes", ())), tuple(facts["by"]))


def _added(first: tuple[int, int], second: tuple[int, int]) -> tuple[int, int]:
    return first[0] + second[0], first[1] + second[1]
