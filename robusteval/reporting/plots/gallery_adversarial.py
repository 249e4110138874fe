"""Adversarial examples beside their originals (Szegedy et al. 2014, arXiv:1312.6199)."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from robusteval.core.errors import require
from robusteval.reporting import pictures
from robusteval.reporting.plots.choice import strongest_attack
from robusteval.reporting.plots.plot import Gallery
from robusteval.reporting.plots.record import Examples, Record

FACTOR = 10
"""How much a perturbation is magnified around mid-grey."""


@dataclass(frozen=True)
class GalleryAdversarial(Gallery):
    """A figure for each model under one attack: a row per sample, the image, the perturbation and the result.

    Attributes:
        view: of the record; by default the attack that leaves the lowest accuracy.
        samples: how many of those that a report keeps.
    """

    name: ClassVar[str] = "gallery-adversarial"
    title: ClassVar[str] = "Adversarial examples"
    about: ClassVar[str] = (
        f"The first samples that the attack changed: the image, the perturbation magnified {FACTOR} times around grey, "
        "and the attacked image, with what the model says and how sure it is. Some withstand the attack."
    )
    order: ClassVar[int] = 70

    view: str | None = None
    samples: int = 4

    def __post_init__(self) -> None:
        require(self.samples >= 1, "samples", "must be at least 1", self.samples)

    def frames(self, record: Record) -> dict[str, pd.DataFrame]:
        """By model and attack."""
        view, found = self.view or strongest_attack(record), {}
        for model in record.models if view is not None else ():
            cell = record.cell(model, str(view))
            kept = None if cell is None else record.examples(cell)
            if cell is not None and kept is not None:
                found[f"{model}, {view}"] = _frame(record, kept.first(self.samples), record.cell(model, "clean"), cell)
        return found


def _frame(record: Record, kept: Examples, clean: str | None, attacked: str) -> pd.DataFrame:
    before, after = (_said(record, cell) for cell in (clean, attacked))
    rows: list[dict[str, Any]] = []
    for image, changed, label, sample in zip(*kept, strict=True):
        delta = changed - image
        shown = {
            "clean": (image, before.get(int(sample), "")),
            f"perturbation x{FACTOR}": (0.5 + FACTOR * delta, f"at most {_size(delta)}"),
            "attacked": (changed, after.get(int(sample), "")),
        }
        row = f"sample {sample}: {record.class_name(int(label))}"
        for column, (pixels, caption) in shown.items():
            rows.append({"row": row, "column": column, "image": pictures.png(pixels), "caption": caption})
    return pictures.frame(rows)


def _size(delta: NDArray[np.float64]) -> str:
    return f"{255 * float(np.abs(delta).max()):.1f}/255"


def _said(record: Record, cell: str | None) -> dict[int, str]:
    """What a model predicts, by sample."""
    if cell is None:
        return {}
    rows = record.samples(cell, ["sample", "prediction", "confidence"])
    return {
        int(row["sample"]): f"{record.class_name(int(row['prediction']))}\n{100 * row['confidence']:.0f}%"
        for row in rows.to_dict("records")
    }
