"""`robusteval report`: the table of a report folder, printed and written."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import pandas as pd


def report(
    folder: Annotated[Path, typer.Argument(help="A report folder, as written by robusteval eval.")],
) -> None:
    """Print the table of a report and write table.md, table.csv and table.tex into it."""
    from robusteval.results.store import Store

    Store.check(folder)
    show(folder, Store(folder).read_metrics())


def show(folder: Path, metrics: "pd.DataFrame") -> None:
    """Write the table files and print the table with its notes."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from robusteval.reporting import corruptions, tables

    shown = tables.write(folder, metrics)
    more = "" if corruptions.write(folder, metrics) is None else ", corruptions.csv"
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
    print(f"written: {folder}/ (metrics, samples, table.md, table.csv, table.tex{more})")
