"""`robusteval train`: one self-describing checkpoint per variant and seed."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robusteval.cli import options
from robusteval.core.errors import CheckpointError, InputError

if TYPE_CHECKING:
    from robusteval.training import Training


def train(
    variant: Annotated[str, typer.Option(help="Variant specs between commas, as in erm,mixup(alpha=0.2).")],
    data: Annotated[str, typer.Option(help="Data spec.")] = "fashion-mnist",
    arch: Annotated[str, typer.Option(help="Architecture spec.")] = "small-cnn",
    recipe: Annotated[str, typer.Option(help="A recipe by name, or a TOML file.")] = "small",
    epochs: Annotated[int | None, typer.Option(min=1, help="Stands in for the recipe's own number.")] = None,
    seeds: Annotated[str, typer.Option(help="Seeds between commas.")] = "0",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    out: Annotated[Path | None, typer.Option(help="Folder of the checkpoints; by default checkpoints/DATA.")] = None,
) -> None:
    """Train every variant with every seed: one file per run, `<variant>-seed<N>.safetensors`.

    A checkpoint that exists with the same settings is kept; with other settings it is never overwritten.
    """
    from robusteval.core import config
    from robusteval.core.spec import split
    from robusteval.data import DATA
    from robusteval.engine.plan import resolved
    from robusteval.models import ARCHITECTURES
    from robusteval.training import Recipe, Training
    from robusteval.variants import VARIANTS

    path = config.find("recipe", recipe, config.suites() / "train")
    settings = config.read(path, Recipe, {} if epochs is None else {"epochs": epochs})
    source, architecture, place = DATA.parse(data), ARCHITECTURES.parse(arch), resolved(device)
    folder = out or Path("checkpoints") / slug(source.name)
    trainings = [
        Training(VARIANTS.parse(spec), source, architecture, settings, seed, place)
        for spec in split(variant)
        for seed in options.seeds(seeds)
    ]
    if not trainings:
        raise InputError(f"variant={variant!r}: name at least one, as in erm,mixup(alpha=0.2)")
    wanted = {
        folder / f"{slug(training.variant.spec)}-seed{training.seed}.safetensors": training for training in trainings
    }
    _check_writable(folder)
    left = [(file, training) for file, training in wanted.items() if not _exists(file, training)]
    for file, training in left:
        _run(file, training)


def slug(spec: str) -> str:
    """A spec as part of a file name.

    >>> slug("mixup(alpha=0.2, per_sample=True)")
    'mixup-alpha=0.2-per_sample=True'
    """
    return re.sub(r"[^\w.=]+", "-", spec).strip("-")


def _check_writable(folder: Path) -> None:
    """Find out before hours of work, not after."""
    nearest = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise InputError(f"out={str(folder)!r}: {nearest} is {'not writable' if nearest.is_dir() else 'a file'}")


def _exists(file: Path, training: "Training") -> bool:
    """Whether the run is done; refuse to overwrite another one."""
    from robusteval.models.checkpoint import read_card

    if not file.exists():
        return False
    card = read_card(file)
    same = card is not None and training.settled(card)
    if not same:
        raise CheckpointError(f"{file} exists and was trained with other settings: name another folder with --out")
    print(f"{file} exists with these settings")
    return True


def _run(file: Path, training: "Training") -> None:
    from tqdm import tqdm

    from robusteval.models.checkpoint import save
    from robusteval.models.fit import Epoch

    title = f"{training.variant.spec} seed {training.seed}"
    with tqdm(total=training.recipe.epochs, desc=title, unit="epoch", disable=None, delay=2) as bar:

        def on_epoch(epoch: Epoch) -> None:
            bar.set_postfix_str(f"loss {epoch.loss:.3f}", refresh=False)
            bar.update()

        model, card = training.run(on_epoch)
    save(file, model, card)
    print(file)
