"""The static figures of a report, as files."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from robusteval.core.files import check_writable
from robusteval.reporting.figures import save
from robusteval.reporting.plots.plot import Plot, ordered
from robusteval.reporting.plots.record import Record

Format = Literal["svg", "png"]


def write(
    record: Record, folder: Path, formats: Sequence[Format] = ("svg",), plots: Sequence[Plot] | None = None
) -> list[Path]:
    """Draw every figure that the record has data for; equal records give equal bytes.

    Args:
        record: of a report.
        folder: of the figures, `PLOT-NAME.svg`.
        formats: of the files.
        plots: which; all that there are by default.

    Raises:
        InputError: the folder cannot be written.
        RecordError: the record is damaged, or the disk is full.
    """
    check_writable("figures", folder)
    written: list[Path] = []
    for plot in ordered() if plots is None else plots:
        for name, frame in plot.frames(record).items():
            figure, stem = plot.static(name, frame), _free(f"{plot.name}-{slug(name)}", written)
            for kind in formats:
                save(figure, folder / f"{stem}.{kind}")
                written.append(folder / f"{stem}.{kind}")
    return written


def slug(text: str) -> str:
    """A text as part of a file name.

    >>> slug("pgd(steps=20), linf")
    'pgd-steps-20-linf'
    """
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")


def _free(stem: str, written: Sequence[Path]) -> str:
    """The stem, with a number behind it where another figure has it."""
    taken, number, free = {path.name.rpartition(".")[0] for path in written}, 2, stem
    while free in taken:
        free, number = f"{stem}-{number}", number + 1
    return free
