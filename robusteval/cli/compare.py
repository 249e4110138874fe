"""`robusteval compare`: variants or checkpoints of one or more reports in one table."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from robusteval.core.errors import InputError, nearest, require

if TYPE_CHECKING:
    from robusteval.reporting.compare import Comparison
    from robusteval.reporting.compare.grids import Grid

BY = ("variant", "checkpoint")


def compare(
    report: Annotated[list[Path], typer.Argument(help="Report folders, as written by robusteval eval.")],
    baseline: Annotated[str | None, typer.Option(help="Show differences to this row, with paired tests.")] = None,
    preset: Annotated[str | None, typer.Option(help="paper (default), accuracy or calibration.")] = None,
    columns: Annotated[
        str | None, typer.Option(help='Views, metrics or VIEW:METRIC, as in "clean,ece,pgd,fog@3:nll,corruptions".')
    ] = None,
    by: Annotated[
        str | None, typer.Option(help="variant or checkpoint; by default variants where one has several seeds.")
    ] = None,
    intervals: Annotated[bool, typer.Option("--intervals", help="Show 95% intervals.")] = False,
    format: Annotated[
        str | None, typer.Option(help="terminal, markdown, latex, csv, parquet, html or json; default: --out's suffix.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write to this file.")] = None,
) -> None:
    """Compare variants or checkpoints: means over training seeds, the best in bold, differences to a baseline.

    Refuses what is not comparable - other data, samples, seed, radii, official beside generated images - and names the
    key that differs. csv, parquet and json hold one row per number.
    """
    require(columns is None or preset is None, "preset", "does not go with --columns; name one of them", preset)
    if by not in (None, *BY):
        raise InputError(f"by={by!r}: {nearest(str(by), BY)}")
    from robusteval.core import files, spec
    from robusteval.reporting.compare import Pool
    from robusteval.reporting.compare import compare as compared
    from robusteval.reporting.compare.formats import SUFFIXES, rendered

    form = format or (SUFFIXES.get(out.suffix, "markdown") if out else "terminal")
    require(form != "parquet" or out is not None, "format", "needs a file: name it with --out", form)
    names = () if columns is None else spec.split(columns)
    require(columns is None or len(names) > 0, "columns", "names none; as in clean,ece", columns)
    rows = cast("Literal['variant', 'checkpoint'] | None", by)
    found = compared(Pool.read(report), names, preset or "paper", rows, baseline)
    content = rendered(found, form, intervals)
    if out is not None:
        files.write(out, lambda file: file.write(content), InputError, "; name another file with --out")
        print(f"written: {out}")
    elif form != "terminal" or not _show(found, intervals):
        print(content.decode().rstrip("\n"))


def _show(found: "Comparison", intervals: bool) -> bool:
    """Print the tables for a person, where one is there."""
    from rich.console import Console

    from robusteval.reporting.compare.formats import text_of

    console = Console(highlight=False)
    grids, remarks = text_of(found, intervals)
    for grid in grids if console.is_terminal else ():
        console.print(_table(grid))
    for remark in remarks if console.is_terminal else ():
        console.print(remark, markup=False, style="dim")
    return console.is_terminal


def _table(grid: "Grid") -> object:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    view = Table(box=SIMPLE_HEAD, title=Text(grid.title) if grid.title else None, title_justify="left")
    for place, name in enumerate(grid.head):
        view.add_column(Text(name), justify="right" if place else "left")
    styles = {"best": "bold", "tied": "italic", "": ""}
    for line in grid.body:
        view.add_row(*(Text(cell.text, style=styles[cell.mark]) for cell in line))
    return view
