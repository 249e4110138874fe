"""`robusteval doctor`: is there a reason not to believe the numbers of this checkpoint?"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robusteval.cli import options
from robusteval.core.errors import require

if TYPE_CHECKING:
    from robusteval.engine.doctor import Examination
    from robusteval.engine.ladder import Rung
    from robusteval.engine.symptoms import Finding

_HEAD = ("attack", "images", "left", "right (%)", "seconds")
_STYLE = {"error": "bold red", "warning": "yellow", "ok": "green"}


def doctor(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint, own or anybody else's.")],
    data: Annotated[str | None, typer.Option(help="Data spec; by default what the checkpoint's card names.")] = None,
    samples: Annotated[str, typer.Option(help="The first N samples, or 'all'.")] = "200",
    eps: Annotated[str, typer.Option(help="Radius in pixel units of [0, 1], as in 8/255.")] = "8/255",
    norm: Annotated[str, typer.Option(help="linf, l2 or l1.")] = "linf",
    seed: Annotated[int, typer.Option(help="Seed of every random number.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    batch_size: Annotated[str, typer.Option(help="Images of a pass at most, or 'auto'.")] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="Torch threads.")] = 1,
    arch: Annotated[str | None, typer.Option(help="Architecture spec of a foreign checkpoint.")] = None,
    mean: Annotated[str | None, typer.Option(help="Its normalisation, as in 0.485,0.456,0.406.")] = None,
    std: Annotated[str | None, typer.Option(help="Its normalisation, as in 0.229,0.224,0.225.")] = None,
    trust_pickle: Annotated[
        bool, typer.Option("--trust-pickle", help="Run code that the checkpoint holds: only if you trust its author.")
    ] = False,
) -> None:
    """Say what is wrong with a checkpoint, or that nothing is, from a ladder of attacks on a few hundred images.

    Looks at normalisation, outputs, batch normalisation, gradients and randomness, and whether stronger attacks break
    more. Exit code 0: nothing is wrong; 1: something is; 2: bad input.
    """
    from robusteval.data import DATA
    from robusteval.engine.doctor import examine_checkpoint
    from robusteval.engine.plan import Settings, resolved
    from robusteval.engine.sources import DataSource, ModelSource
    from robusteval.models.foreign import Description
    from robusteval.models.loading import describe

    paths = options.checkpoints([str(checkpoint)])
    require(len(paths) == 1, "checkpoint", f"must be one file, and the folder has {len(paths)}", str(checkpoint))
    path = paths[0]
    given = Description(arch=arch, data=data, mean=options.numbers("mean", mean), std=options.numbers("std", std))
    described = describe(path, given, trust_pickle)
    source = ModelSource(path.stem, DataSource(DATA.parse(described.data or "").spec), path, described, trust_pickle)
    settings = Settings(seed, resolved(device), threads, options.batch_size(batch_size))
    examination = examine_checkpoint(source, settings, options.samples(samples) or 200, eps, norm)  # type: ignore[arg-type]
    _show(path, examination)
    if not examination.healthy:
        sys.exit(1)


def _show(path: Path, examination: "Examination") -> None:
    """Print the ladder, what is wrong, and what is not."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    rows = [_row(rung) for rung in examination.ladder]
    if not console.is_terminal:
        for cells in (_HEAD, ("---", *["---:"] * (len(_HEAD) - 1)), *rows):
            print(f"| {' | '.join(cells)} |")
        print()
    else:
        table = Table(box=SIMPLE_HEAD)
        for place, name in enumerate(_HEAD):
            table.add_column(name, justify="right" if place else "left")
        for cells in rows:
            table.add_row(*map(Text, cells))
        console.print(table)
    wrong = examination.wrong
    for finding in (*wrong, *(finding for finding in examination.findings if finding not in wrong)):
        console.print(_line(finding), style=_STYLE[finding.severity] if finding in wrong else None, markup=False)
    print()
    print(f"{path}: {_summary(wrong)}")


def _row(rung: "Rung") -> tuple[str, ...]:
    share = f"{100 * rung.left / rung.met:.1f}" if rung.met else "-"
    name = f"{rung.name}: {rung.spec}" if rung.spec else rung.name
    return name, str(rung.met), str(rung.left), share, f"{rung.seconds:.1f}"


def _line(finding: "Finding") -> str:
    return f"{finding.severity:7} {finding.name}: {' '.join(filter(None, (finding.says, finding.remedy)))}"


def _summary(wrong: "tuple[Finding, ...]") -> str:
    if not wrong:
        return "nothing is wrong."
    errors = sum(finding.severity == "error" for finding in wrong)
    counts = [(errors, "error"), (len(wrong) - errors, "warning")]
    return " and ".join(f"{count} {word}{'s' * (count > 1)}" for count, word in counts if count) + "."
