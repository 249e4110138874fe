"""The plots of a report as a page holds them: figures as compact JSON, pictures as data URIs, within a size."""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from robusteval.reporting.page.table import csv_link, unique
from robusteval.reporting.pictures import heads
from robusteval.reporting.plots import Chart, Gallery, Plot, Record
from robusteval.reporting.plots.plot import ordered

_MOST_CSV = 150_000
_LONG = 2000
_DIGITS = 5


@dataclass(frozen=True)
class Picture:
    """A picture of a gallery: a PNG file as a data URI, and what it shows."""

    source: str
    caption: str


@dataclass(frozen=True)
class Drawing:
    """One figure of a plot, of which the page shows one at a time.

    Attributes:
        name: what a reader chooses it by.
        id: of its element.
        figure: JSON for plotly, safe inside a script element; empty where it is a gallery.
        heads: the columns of a gallery.
        pictures: the rows of a gallery: its head, and a picture or nothing per column.
        csv: its numbers as a link, where they are few enough.
    """

    name: str
    id: str
    figure: str = ""
    heads: Sequence[str] = ()
    pictures: Sequence[tuple[str, Sequence[Picture | None]]] = ()
    csv: str = ""

    @property
    def size(self) -> int:
        """Bytes, roughly."""
        images = sum(len(each.source) + 200 for _, row in self.pictures for each in row if each is not None)
        return len(self.figure) + len(self.csv) + images + 500


@dataclass(frozen=True)
class Section:
    """A plot of a page: its figures, and the names of those that were left out to keep the page small."""

    id: str
    title: str
    about: str
    drawings: Sequence[Drawing]
    left_out: Sequence[str] = ()

    @property
    def size(self) -> int:
        """Bytes, roughly."""
        return sum(drawing.size for drawing in self.drawings)


def sections(record: Record, budget: int = 2_500_000, plots: Sequence[Plot] | None = None) -> list[Section]:
    """Every plot that the record has data for, in the order of a page.

    Args:
        record: of a report.
        budget: bytes that they may take; the smallest are whole, a large one ends where its fair share does.
        plots: which; all that there are by default.
    """
    whole = [found for plot in (ordered() if plots is None else plots) if (found := _section(plot, record)).drawings]
    fitted: dict[str, Section] = {}
    for left, section in enumerate(sorted(whole, key=lambda each: each.size)):
        fitted[section.id] = _within(section, budget // (len(whole) - left))
        budget -= fitted[section.id].size
    return [fitted[section.id] for section in whole]


def compact(value: Any) -> Any:
    """Figure data with five digits of each number, and single precision in long arrays.

    >>> compact({"y": [0.123456789, None, 3]})
    {'y': [0.12346, None, 3]}
    """
    if isinstance(value, Mapping):
        typed = {"dtype", "bdata"} <= set(value)
        return _array(value) if typed else {key: compact(each) for key, each in value.items()}
    if isinstance(value, list):
        return [compact(each) for each in value]
    return _short(value) if isinstance(value, float) else value


def _section(plot: Plot, record: Record) -> Section:
    frames = plot.frames(record)
    ids = unique(f"{plot.name} {name}" for name in frames)
    drawings = [_drawing(plot, name, each, frame) for each, (name, frame) in zip(ids, frames.items(), strict=True)]
    return Section(plot.name, plot.title, plot.about, drawings)


def _drawing(plot: Plot, name: str, identity: str, frame: pd.DataFrame) -> Drawing:
    if isinstance(plot, Chart):
        payload = json.loads(plot.interactive(name, frame).to_json(remove_uids=True))
        payload["layout"].pop("template", None)
        link = csv_link(frame)
        return Drawing(name, identity, _script(compact(payload)), csv=link if len(link) < _MOST_CSV else "")
    if isinstance(plot, Gallery):
        return replace(_gallery(frame), name=name, id=identity)
    raise TypeError(f"{plot.name}: a page shows a Chart or a Gallery")


def _gallery(frame: pd.DataFrame) -> Drawing:
    columns = heads(frame)
    rows = []
    for head, part in frame.groupby("row", sort=False):
        places = zip(part["column"], part["image"], part["caption"], strict=True)
        pictures = {column: Picture(_png(image), str(caption)) for column, image, caption in places}
        rows.append((str(head), [pictures.get(column) for column in columns]))
    return Drawing("", "", heads=columns, pictures=rows)


def _within(section: Section, most: int) -> Section:
    """The first drawings that fit."""
    kept = list(_fitting(section.drawings, most))
    return replace(section, drawings=kept, left_out=[each.name for each in section.drawings[len(kept) :]])


def _fitting(drawings: Sequence[Drawing], most: int) -> Iterator[Drawing]:
    for drawing in drawings:
        most -= drawing.size
        if most < 0:
            return
        yield drawing


def _png(image: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(image).decode()}"


def _script(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _array(value: Mapping[str, Any]) -> Any:
    """A typed array of plotly: numbers where it is short, else in single precision."""
    if value["dtype"] != "f8":
        return dict(value)
    numbers = np.frombuffer(base64.b64decode(value["bdata"]), dtype=np.float64)
    shape = [int(part) for part in str(value.get("shape", len(numbers))).split(",")]
    if len(numbers) > _LONG:
        return {**value, "dtype": "f4", "bdata": base64.b64encode(numbers.astype(np.float32).tobytes()).decode()}
    return compact(numbers.reshape(shape).tolist())


def _short(value: float) -> float | int | None:
    if not np.isfinite(value):
        return None
    rounded = float(f"{value:.{_DIGITS}g}")
    return int(rounded) if rounded.is_integer() else rounded
