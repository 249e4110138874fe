"""`robusteval report`: a report folder as a table, as a page, and as figures."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from robusteval.core.errors import nearest, require

if TYPE_CHECKING:
    import pandas as pd

    from robusteval.reporting.plots.write import Format

_FORMATS = ("svg", "png")


def report(
    folder: Annotated[Path, typer.Argument(help="A report folder, as written by robusteval eval.")],
    html: Annotated[
        bool, typer.Option("--html/--no-html", help="Write report.html, one page with figures and examples.")
    ] = True,
    figures: Annotated[
        Path | None, typer.Option(help="Draw every figure into this folder, for papers.", metavar="DIR")
    ] = None,
    format: Annotated[str, typer.Option(help="Of those figures: svg, png, or svg,png.")] = "svg",
    mce_against: Annotated[
        str | None,
        typer.Option(help="Print and write the mCE: against a report of one model, FOLDER:MODEL, or alexnet."),
    ] = None,
) -> None:
    """Print the table of a report and write table.md, table.csv, table.tex and report.html into it."""
    from robusteval.results.store import Store

    Store.check(folder)
    metrics, formats = Store(folder).read_metrics(), _formats(format)
    errors = "" if mce_against is None else _errors(folder, mce_against)
    if html:
        from robusteval.reporting import page

        page.write(folder)
    if figures is not None:
        _draw(folder, figures, formats)
    show(folder, metrics, page=html)
    if errors:
        print(f"\n{errors}\nwritten: {folder / 'mce.csv'}")


def show(folder: Path, metrics: "pd.DataFrame", page: bool = False) -> None:
    """Write the table files and print the table with its notes.

    Args:
        folder: of the report.
        metrics: of the report.
        page: whether its page was just written; else the line that writes it is printed.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from robusteval.reporting import corruptions, tables

    shown = tables.write(folder, metrics)
    more = ["corruptions.csv"] if corruptions.write(folder, metrics) is not None else []
    console = Console(highlight=False)
    if not console.is_terminal:
        print(tables.markdown(shown, tables.notes(metrics)))
    else:
        view = Table("model", box=SIMPLE_HEAD)
        for name in shown.columns:
            view.add_column(Text(str(name)), justify="right")
        for model, row in zip(shown.index, shown.to_numpy(), strict=True):
            view.add_row(*map(Text, (str(model), *row)))
        console.print(view)
        for remark in tables.notes(metrics):
            console.print(remark, markup=False, style="dim")
    if page:
        more.append("report.html")
    else:
        print(f"as a page with figures and examples: robusteval report {folder}")
    print(f"written: {folder}/ ({', '.join(['metrics', 'samples', 'table.md', 'table.csv', 'table.tex', *more])})")


def _formats(text: str) -> "list[Format]":
    names = [name.strip() for name in text.split(",")]
    for name in names:
        require(name in _FORMATS, "format", nearest(name, _FORMATS), name)
    return cast("list[Format]", list(dict.fromkeys(names)))


def _errors(folder: Path, against: str) -> str:
    from robusteval.reporting import mce

    return mce.markdown(mce.write(folder, against))


def _draw(folder: Path, figures: Path, formats: "list[Format]") -> None:
    from robusteval.reporting import plots

    written = plots.write(plots.Record(folder), figures, formats)
    print(f"figures: {len(written)} in {figures}/")
