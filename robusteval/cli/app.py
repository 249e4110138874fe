"""The verbs, gathered."""

import typer

from robusteval import __version__
from robusteval.cli.eval import evaluate
from robusteval.cli.list import list_components
from robusteval.cli.report import report
from robusteval.cli.train import train

app = typer.Typer(
    name="robusteval",
    help="Is this model robust, is it calibrated, and did it get worse?",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"robusteval {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    pass


app.command("train")(train)
app.command("eval")(evaluate)
app.command("report")(report)
app.command("list")(list_components)
