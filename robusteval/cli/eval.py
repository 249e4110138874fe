"""`robusteval eval`: checkpoints through a suite into a report folder."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from robusteval.cli import options
from robusteval.core.errors import InputError, require

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robusteval.core.precision import Precision
    from robusteval.engine.executor import Executor
    from robusteval.engine.sources import ModelSource
    from robusteval.engine.suite import Suite
    from robusteval.models.foreign import Description
    from robusteval.results.store import ImageFiles


def evaluate(
    checkpoint: Annotated[
        list[str] | None, typer.Argument(help="Checkpoints, or folders of them; by default those the suite names.")
    ] = None,
    suite: Annotated[str, typer.Option(help="A suite by name, or a TOML file.")] = "quick",
    data: Annotated[str | None, typer.Option(help="Data spec; by default what the checkpoint's card names.")] = None,
    samples: Annotated[str | None, typer.Option(help="The first N samples, or 'all'; by default the suite's.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of every random number.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    batch_size: Annotated[str, typer.Option(help="Images of a pass at most, or 'auto'.")] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="Torch threads of each worker.")] = 1,
    arch: Annotated[str | None, typer.Option(help="Architecture spec of a foreign checkpoint.")] = None,
    mean: Annotated[str | None, typer.Option(help="Its normalisation, as in 0.485,0.456,0.406.")] = None,
    std: Annotated[str | None, typer.Option(help="Its normalisation, as in 0.229,0.224,0.225.")] = None,
    executor: Annotated[
        str | None, typer.Option(help="serial or processes; by default processes where there are several workers.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="By default one per core, or per GPU.")] = None,
    out: Annotated[Path | None, typer.Option(help="The report folder; by default reports/SUITE.")] = None,
    keep_logits: Annotated[bool, typer.Option("--keep-logits", help="Store logits of more than 100 classes.")] = False,
    calibrate_on: Annotated[
        str | None,
        typer.Option(
            help="Fit recalibrators on this split, train or validation (what the training held out), "
            "and not on halves of the samples."
        ),
    ] = None,
    recalibrate: Annotated[
        str, typer.Option(help="Recalibrators, as in temperature,vector: ECE and NLL after each.")
    ] = "temperature",
    compile: Annotated[
        bool, typer.Option("--compile", help="Have torch compile what is attacked: a minute each.")
    ] = False,
    gradients: Annotated[
        str, typer.Option(help="Precision of gradients: float32, bf16, or tf32 on CUDA; verdicts stay in float32.")
    ] = "float32",
    save_adversarial: Annotated[
        str | None, typer.Option(help="Keep every attacked image: npz, or png rounded to 8 bits.")
    ] = None,
    official: Annotated[
        Path | None,
        typer.Option(help="Read the suite's corrupted views from this stored set, such as CIFAR-10-C, and make none."),
    ] = None,
    trust_pickle: Annotated[
        bool, typer.Option("--trust-pickle", help="Run code that a checkpoint holds: only if you trust its author.")
    ] = False,
) -> None:
    """Measure checkpoints: clean, attacked, corrupted, calibration and linearity, in one pass.

    The same command run again does only what is missing. Exit code 0: all measured; 1: some cells failed; 2: bad input.
    """
    from robusteval.cli.report import show
    from robusteval.core.spec import split
    from robusteval.engine import suite as suites
    from robusteval.engine.plan import Settings, resolved
    from robusteval.engine.run import Run
    from robusteval.models.foreign import Description

    chosen = suites.load(suite) if official is None else suites.load(suite).stored()
    chosen = chosen if calibrate_on is None else chosen.calibrated(calibrate_on)
    settings = Settings(
        seed=seed,
        device=resolved(device),
        threads=threads,
        batch_size=options.batch_size(batch_size),
        keep_logits=keep_logits,
        compile=compile,
        gradients=cast("Precision", gradients),
        save_adversarial=cast("ImageFiles | None", save_adversarial),
    )
    given = Description(arch=arch, data=data, mean=options.numbers("mean", mean), std=options.numbers("std", std))
    paths = _checkpoints(checkpoint, chosen)
    sources = [source.with_stored(official) for source in _sources(paths, given, trust_pickle)]
    wanted = options.samples(samples)
    folder = out or Path("reports") / chosen.name
    run = Run(chosen, sources, settings, _executor(executor, workers, settings.device), wanted, split(recalibrate))
    metrics = run.into(folder, options.note)
    show(folder, metrics)
    for source in sources:
        if source.description is not None and source.description.mean is None:
            options.note(
                f"{source.path}: no mean and std were given, so its network got the images as they are in [0, 1]"
            )
    if metrics["error"].notna().any():
        sys.exit(1)


def _checkpoints(named: list[str] | None, suite: "Suite") -> list[Path]:
    if named:
        return options.checkpoints(named)
    found = [path for pattern in map(Path, suite.checkpoints) for path in sorted(_matching(pattern))]
    if not found:
        patterns = ", ".join(suite.checkpoints) or "none"
        remedy = f"make them with {suite.train}" if suite.train else "name one, as in robusteval eval model.safetensors"
        raise InputError(
            f"no checkpoint is named, and the suite {suite.name!r} finds none of its own below {Path.cwd()} "
            f"({patterns}): {remedy}"
        )
    return list(dict.fromkeys(found))


def _matching(pattern: Path) -> "Iterator[Path]":
    """The files of a pattern below the working directory, or of an absolute one."""
    return Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor)))


def _sources(paths: list[Path], given: "Description", trust_pickle: bool) -> "list[ModelSource]":
    from robusteval.data import DATA
    from robusteval.engine.sources import DataSource, ModelSource, labels
    from robusteval.models.loading import describe

    sources = []
    for path, label in zip(paths, labels(paths), strict=True):
        described = describe(path, given, trust_pickle)
        spec = DATA.parse(described.data or "").spec
        sources.append(ModelSource(label, DataSource(spec), path, described, trust_pickle))
    return sources


def _executor(name: str | None, workers: int | None, device: str) -> "Executor":
    from robusteval.engine import EXECUTORS
    from robusteval.engine.processes import default_workers

    if name is None:
        name = "serial" if (workers or default_workers(device)) == 1 else "processes"
    if name == "processes":
        return EXECUTORS.parse(f"processes(workers={workers})")
    require(workers in (None, 1), "workers", f"is for --executor processes, not {name}", workers)
    return EXECUTORS.parse(name)
