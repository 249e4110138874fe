"""`robusteval train`: one self-describing checkpoint per variant and seed."""

import multiprocessing
import os
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robusteval.cli import options
from robusteval.core import files
from robusteval.core.errors import CheckpointError, RobustevalError, require

if TYPE_CHECKING:
    from robusteval.training import Training
    from robusteval.training.trainer import Row

CACHE = "~/.cache/robusteval/fitted"
# The line of the terminal that this process draws its bar on; each worker of a pool has its own.
_line = 0


def train(
    variant: Annotated[str, typer.Option(help="Variant specs between commas, as in erm,mixup(alpha=0.2).")],
    data: Annotated[str | None, typer.Option(help="Data spec; by default the recipe's.")] = None,
    arch: Annotated[str | None, typer.Option(help="Architecture spec; by default the recipe's.")] = None,
    recipe: Annotated[str, typer.Option(help="A recipe by name, or a TOML file.")] = "small",
    epochs: Annotated[int | None, typer.Option(min=1, help="Stands in for the recipe's own number.")] = None,
    seeds: Annotated[str, typer.Option(help="Seeds between commas.")] = "0",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Runs at a time; by default one per core, or one on a GPU.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Torch threads of a run on the CPU.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Folder of the checkpoints; by default checkpoints/DATA.")] = None,
    cache: Annotated[Path, typer.Option(help="Folder of the parts that variants fit first.")] = Path(CACHE),
) -> None:
    """Train every variant with every seed: one file per run, `<variant>-seed<N>.safetensors`.

    A checkpoint that exists with the same settings is kept; with other settings it is never overwritten. A run that
    was stopped goes on after its last whole epoch. Learning curves are in the folder `curves` beside the checkpoints.
    Under torchrun every batch is shared among its processes.
    """
    import torch

    from robusteval.core import config
    from robusteval.core.spec import split
    from robusteval.core.world import joined, world
    from robusteval.data import DATA
    from robusteval.engine.plan import resolved
    from robusteval.models import ARCHITECTURES
    from robusteval.training import Recipe, Training
    from robusteval.variants import VARIANTS, Variant

    path = config.find("recipe", recipe, config.suites() / "train")
    settings = config.read(path, Recipe, {} if epochs is None else {"epochs": epochs})
    source, architecture = DATA.parse(data or settings.data), ARCHITECTURES.parse(arch or settings.arch)
    folder = out or Path("checkpoints") / slug(source.name)
    torch.set_num_threads(threads)
    place = resolved(device)
    with joined(place):
        trainings = [
            Training(VARIANTS.parse(spec), source, architecture, settings, seed, place)
            for spec in split(variant)
            for seed in options.seeds(seeds)
        ]
        require(bool(trainings), "variant", "name at least one, as in erm,mixup(alpha=0.2)", variant)
        wanted = {
            folder / f"{slug(training.variant.spec)}-seed{training.seed}.safetensors": training
            for training in trainings
        }
        files.check_writable("out", folder)
        if any(type(training.variant).prepared is not Variant.prepared for training in trainings):
            files.check_writable("cache", cache.expanduser())
        left = {file: training for file, training in wanted.items() if not _exists(file, training)}
        for training in left.values():
            training.rehearse()
        count = min(len(left), workers or default_workers(place)) if world().size == 1 else 1
        failed = _train_all(left, cache.expanduser(), count, threads)
    if failed:
        raise typer.Exit(1)


def default_workers(device: str) -> int:
    """One per core, or one on a GPU."""
    return 1 if device == "cuda" else len(os.sched_getaffinity(0))


def slug(spec: str) -> str:
    """A spec as part of a file name.

    >>> slug("mixup(alpha=0.2, per_sample=True)")
    'mixup-alpha=0.2-per_sample=True'
    """
    return re.sub(r"[^\w.=]+", "-", spec).strip("-")


def _exists(file: Path, training: "Training") -> bool:
    """Whether the run is done; refuse to overwrite another one."""
    from robusteval.core.world import world
    from robusteval.models.checkpoint import read_card

    if not file.exists():
        return False
    card = read_card(file)
    same = card is not None and training.settled(card)
    if not same:
        raise CheckpointError(f"{file} exists and was trained with other settings: name another folder with --out")
    if world().rank == 0:
        print(f"{file} exists with these settings")
    return True


def _train_all(left: Mapping[Path, "Training"], cache: Path, workers: int, threads: int) -> bool:
    """Train what is left, several at a time; the failure of one stops no other. Whether one failed."""
    from tqdm import tqdm

    from robusteval.core.world import world

    failed = False
    runs = _spread(left, cache, workers, threads) if workers > 1 else _in_turn(left, cache)
    for file, reason in runs:
        if reason is not None:
            failed = True
            options.note(f"robusteval: {left[file].variant.spec} seed {left[file].seed}: {reason}")
            if world().size > 1:
                break  # the others are still in this run: torchrun ends them
        elif world().rank == 0:
            tqdm.write(str(file))
    return failed


def _in_turn(left: Mapping[Path, "Training"], cache: Path) -> "Iterator[tuple[Path, str | None]]":
    for file, training in left.items():
        yield file, _attempt(file, training, cache)


def _spread(
    left: Mapping[Path, "Training"], cache: Path, workers: int, threads: int
) -> "Iterator[tuple[Path, str | None]]":
    """Runs in fresh processes."""
    from tqdm import tqdm

    context = multiprocessing.get_context("spawn")
    lock = context.RLock()
    tqdm.set_lock(lock)
    setting = (lock, context.Value("i", 0), threads)
    pool = ProcessPoolExecutor(workers, context, _begin, setting)
    try:
        futures = {pool.submit(_attempt, file, training, cache): file for file, training in left.items()}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except KeyboardInterrupt:
        for worker in multiprocessing.active_children():
            worker.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(lock: object, started: "Synchronized[int]", threads: int) -> None:
    """Prepare a process of the pool."""
    import torch
    from tqdm import tqdm

    global _line
    tqdm.set_lock(lock)
    torch.set_num_threads(threads)
    with started:
        _line = started.value
        started.value += 1


def _attempt(file: Path, training: "Training", cache: Path) -> str | None:
    """One run, from its unfinished state where there is one; the reason where it fails."""
    try:
        _run(file, training, cache)
    except RobustevalError as error:
        return str(error)
    return None


def _run(file: Path, training: "Training", cache: Path) -> None:
    from tqdm import tqdm

    from robusteval.core.world import world
    from robusteval.models.checkpoint import save
    from robusteval.training import Desk

    title, saved = f"{training.variant.spec} seed {training.seed}", file.with_name(f".{file.stem}.unfinished")
    curves = file.parent / "curves" / f"{file.stem}.csv"
    quiet = None if world().rank == 0 else True
    with tqdm(
        total=training.recipe.epochs, desc=title, unit="epoch", disable=quiet, delay=2, position=_line, leave=False
    ) as bar:

        def on_epoch(rows: "list[Row]") -> None:
            bar.set_postfix_str(f"loss {rows[-1]['loss']:.3f}", refresh=False)
            bar.update(len(rows) - bar.n)
            _write_curves(curves, rows)

        def progress(part: str, done: int, total: int) -> None:
            bar.set_postfix_str(f"first {part} {done}/{total}")

        model, card, rows = training.run(Desk(saved, cache, on_epoch, progress))
    if world().rank == 0:
        save(file, model, card)
        _write_curves(curves, rows)
        _draw_curves(curves.with_suffix(".svg"), rows, title)
        saved.unlink(missing_ok=True)


def _write_curves(path: Path, rows: "list[Row]") -> None:
    from pandas import DataFrame

    files.write(path, lambda file: DataFrame(rows).to_csv(file, index=False, float_format="%.6g"), CheckpointError)


def _draw_curves(path: Path, rows: "list[Row]", title: str) -> None:
    from pandas import DataFrame

    from robusteval.reporting.figures import learning_curves, save

    save(learning_curves(DataFrame(rows), title), path)
