"""One image of a report under its corruptions (Hendrycks and Dietterich 2019, arXiv:1903.12261)."""

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from robusteval.reporting import corruptions, pictures
from robusteval.reporting.plots.plot import Gallery
from robusteval.reporting.plots.record import Examples, Record


@dataclass(frozen=True)
class GalleryCorruptions(Gallery):
    """A figure for each kind of corruption: a row per corruption, the image itself, then a column per severity.

    The image is the first of those that most views keep; a view that left it as it was has no picture of it.
    """

    name: ClassVar[str] = "gallery-corruptions"
    title: ClassVar[str] = "One image under corruptions"
    about: ClassVar[str] = "A test image as the models saw it, by corruption and severity."
    order: ClassVar[int] = 80

    def frames(self, record: Record) -> dict[str, pd.DataFrame]:
        """By kind of corruption, of the first model that keeps images, for they are the same for all."""
        found, kinds = {}, corruptions.kinds(record.metrics)
        for kind, views in kinds.items():
            end = "" if len(kinds) == 1 else f", {kind.label}"
            for model in record.models:
                kept = _kept(record, model, views)
                if kept:
                    sample = _most_kept(kept)
                    found[_named(record, kept, sample) + end] = _frame(kept, sample)
                    break
        return found


def _kept(record: Record, model: str, views: list[str]) -> dict[str, Examples]:
    cells = {view: record.cell(model, view) for view in views}
    examples = {view: record.examples(cell) for view, cell in cells.items() if cell is not None}
    return {view: kept for view, kept in examples.items() if kept is not None}


def _most_kept(kept: dict[str, Examples]) -> int:
    """The first sample of those in the most views."""
    counts = Counter(int(sample) for examples in kept.values() for sample in examples.sample)
    most = max(counts.values())
    return min(sample for sample, count in counts.items() if count == most)


def _named(record: Record, kept: dict[str, Examples], sample: int) -> str:
    examples = next(each for each in kept.values() if sample in each.sample)
    of = record.class_name(int(examples.label[np.flatnonzero(examples.sample == sample)[0]]))
    return f"sample {sample} ({of})"


def _frame(kept: dict[str, Examples], sample: int) -> pd.DataFrame:
    """The pictures, severities rising."""
    rows = []
    places = {view: corruptions.view_of(view).place.rpartition("@") for view in kept}
    for view in sorted(kept, key=lambda view: int(places[view][2])):
        examples, (corruption, _, severity) = kept[view], places[view]
        for number in np.flatnonzero(examples.sample == sample):
            images = {"clean": examples.clean[number], f"severity {severity}": examples.changed[number]}
            rows += [(corruption, column, pictures.png(image)) for column, image in images.items()]
    frame = pd.DataFrame(rows, columns=["row", "column", "image"]).assign(caption="")
    order = [places[view][0] for view in kept]
    ordered = frame.sort_values("row", key=lambda names: names.map(order.index), kind="stable")
    return ordered.drop_duplicates(["row", "column"])[list(pictures.COLUMNS)].reset_index(drop=True)
