"""`robusteval check`: did a model get worse than its baseline? The gate of a CI build."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robusteval.cli import options
from robusteval.core import files
from robusteval.core.errors import InputError, RobustevalError, require

if TYPE_CHECKING:
    from robusteval.gate.check import Check
    from robusteval.gate.rules import Rules

BASELINES = Path("suites") / "baselines"
"""Where baseline files are kept, below the working directory."""


def check(
    report: Annotated[
        Path,
        typer.Argument(help="A report folder or baseline file; with --sequential, a checkpoint.", metavar="REPORT"),
    ],
    against: Annotated[
        str | None,
        typer.Option(help="The baseline: a report folder, a baseline file, or its name; by default the report's name."),
    ] = None,
    rules: Annotated[Path | None, typer.Option(help="TOML file: gates, margins, level, minimum_n, grades.")] = None,
    map: Annotated[
        list[str] | None, typer.Option(help="NEW=OLD for models whose names differ; as often as needed.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML, a test case per row.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write everything as JSON.")] = None,
    github: Annotated[
        bool, typer.Option("--github", help="Print annotations for GitHub, and fill the step's summary.")
    ] = False,
    update: Annotated[
        bool, typer.Option("--update", help="Compare nothing: write REPORT as the new baseline file.")
    ] = False,
    sequential: Annotated[
        bool, typer.Option("--sequential", help="Measure a checkpoint only until all verdicts are certain.")
    ] = False,
) -> None:
    """Compare a report with a baseline, sample by sample, and say what got worse.

    A row has regressed where its difference is significant over all rows together and beyond the margin; it is ok where
    its interval ends below the margin. Exit code 0: all ok or improved; 1: a row regressed; 2: the two cannot be
    compared, or there is no baseline; 3: too few samples to tell.
    """
    try:
        if update:
            require(not sequential, "update", "writes a report that is there; leave out --sequential", update)
            _update(report, _target(report, against))
            return
        found = _checked(report, _found(report, against), _rules(rules), _mapping(map or []), sequential)
    except RobustevalError as error:
        _refused(str(error), junit, json, github)
        raise
    _write(found, junit, json)
    show(found)
    if github:
        _annotate(found)
    sys.exit(found.exit_code)


def show(found: "Check") -> None:
    """Print the table, what is to be said of its rows, and what it comes to."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from robusteval.gate import outputs, words

    console = Console(highlight=False)
    if console.is_terminal:
        view = Table(box=SIMPLE_HEAD)
        for place, name in enumerate(words.headings(found)):
            view.add_column(Text(name), justify="left" if place < words.NAMES else "right")
        for row in found.rows:
            view.add_row(*map(Text, words.cells(row)))
        console.print(view)
    else:
        print(words.markdown(found))
    for remark in words.remarks(found):
        console.print(remark, markup=False, soft_wrap=True)
    for row in found.rows:
        if row.verdict == "not comparable":
            options.note(f"robusteval: not comparable: {words.name(row)}: {row.reason}")
    code = found.exit_code
    print(f"{outputs.CODES[code]}: {words.tally(found.rows)} (exit code {code})")


def _refused(line: str, junit: Path | None, json: Path | None, github: bool) -> None:
    """Say in every output that nothing was compared, so that none of an earlier check is taken for this one's."""
    from robusteval.gate import outputs

    for path, as_text in ((junit, outputs.refused_junit), (json, outputs.refused_json)):
        if path is not None:
            _write_text(path, as_text(line))
    if github:
        print(outputs.github_error(line))


def _checked(new: Path, old: Path, rules: "Rules", mapping: dict[str, str], sequential: bool) -> "Check":
    from robusteval.gate.check import check as compare
    from robusteval.gate.pairs import read_side

    baseline = read_side(old)
    if sequential:
        from robusteval.gate.sequential import sequential as measured

        return measured(new, baseline, rules, mapping, Path("reports") / f"{new.stem}-sequential", options.note)
    require(new.exists(), "report", "there is no such report folder or baseline file", str(new))
    checkpoint = new.is_file() and new.suffix != ".parquet"
    require(
        not checkpoint, "report", "is neither a folder nor a baseline file; check a checkpoint --sequential", str(new)
    )
    return compare(read_side(new), baseline, rules, mapping)


def _update(report: Path, target: Path) -> None:
    from robusteval.gate import baseline
    from robusteval.gate.pairs import read_side

    require(report.exists(), "report", "there is no such report folder", str(report))
    side = read_side(report)
    size = baseline.write(target, side)
    views = len(side.entries)
    print(f"written: {target} ({size / 1e3:.0f} kB, {views} views of {len(side.models)} models)")


def _rules(path: Path | None) -> "Rules":
    from robusteval.gate.rules import Rules

    return Rules() if path is None else Rules.read(path)


def _mapping(pairs: list[str]) -> dict[str, str]:
    found = dict[str, str]()
    for text in pairs:
        new, equals, old = text.partition("=")
        require(bool(new and equals and old), "map", "must be NEW=OLD, as in --map erm-new=erm", text)
        require(new not in found, "map", f"names {new!r} twice", text)
        found[new] = old
    return found


def _target(report: Path, against: str | None) -> Path:
    """Where a baseline is written: a path as it is, a name in its folder."""
    text = report.resolve().name if against is None else against
    path = Path(text) if against is not None and ("/" in text or Path(text).suffix) else BASELINES / f"{text}.parquet"
    if path.is_dir():
        raise InputError(f"against={text!r}: is a folder; --update writes a baseline file: name one")
    files.check_writable("against", path.parent)
    return path


def _found(report: Path, against: str | None) -> Path:
    """The baseline that is meant: a path, or a name in the folders of baselines.

    Raises:
        InputError: there is none.
    """
    from robusteval.core import config

    text = report.resolve().name if against is None else against
    named = [folder / f"{text}.parquet" for folder in (BASELINES, config.suites() / "baselines")]
    for path in (*([] if against is None else [Path(text)]), *named):
        if path.exists():
            return path
    looked = ", ".join(str(path) for path in ([Path(text)] if against else named))
    raise InputError(f"there is no baseline (looked for {looked}): make one with robusteval check REPORT --update")


def _write(found: "Check", junit: Path | None, json: Path | None) -> None:
    from robusteval.gate import outputs

    for path, as_text in ((junit, outputs.as_junit), (json, outputs.as_json)):
        if path is not None:
            _write_text(path, as_text(found))


def _write_text(path: Path, text: str) -> None:
    files.write(path, lambda file: file.write(text.encode()), InputError)


def _annotate(found: "Check") -> None:
    from robusteval.gate import outputs

    for command in outputs.github_commands(found):
        print(command)
    page = os.environ.get("GITHUB_STEP_SUMMARY")
    if page:
        with Path(page).open("a", encoding="utf-8") as file:
            file.write(outputs.github_summary(found))
