"""The verbs, gathered."""

from typing import cast

import typer

from robusteval import __version__
from robusteval.cli.check import check
from robusteval.cli.compare import compare
from robusteval.cli.corrupt import corrupt
from robusteval.cli.doctor import doctor
from robusteval.cli.eval import evaluate
from robusteval.cli.list import list_components
from robusteval.cli.report import report
from robusteval.cli.train import train

Abort = typer.Abort
# Of click, which later versions of typer hold inside.
UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[1])

app = typer.Typer(
    name="robusteval",
    help="Is this model robust, is it calibrated, and did it get worse?",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"robusteval {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _main(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


app.command("train", short_help="Train checkpoints, one file per variant and seed.")(train)
app.command("eval", short_help="Measure checkpoints with a suite into a report.")(evaluate)
app.command("corrupt", short_help="Write a set of corrupted images to disk.")(corrupt)
app.command("compare", short_help="Compare variants or checkpoints in one table.")(compare)
app.command("check", short_help="Compare a report with its baseline: did it get worse?")(check)
app.command("report", short_help="Print the table of a report and write it again.")(report)
app.command("doctor", short_help="Say what is wrong with a checkpoint, or that nothing is.")(doctor)
app.command("list", short_help="List attacks, corruptions, metrics, data sets, ...")(list_components)
