"""`robusteval corrupt`: a set of corrupted images on disk, in the layout of CIFAR-10-C or ImageNet-C, or a picture."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robusteval.cli import options
from robusteval.core.errors import InputError, SpecError, nearest, require

if TYPE_CHECKING:
    from robusteval.corruptions import Corruption
    from robusteval.data import Split
    from robusteval.engine.materialise import Materialise
    from robusteval.reporting.gallery import Chosen

_APART = ("mnist-c", "cifar10-c-bar")


def corrupt(
    data: Annotated[str, typer.Argument(help="Data spec, such as cifar10; its test images are corrupted.")],
    out: Annotated[Path | None, typer.Option(help="The folder of the set.")] = None,
    corruptions: Annotated[str, typer.Option(help="Names between commas, or 'all'.")] = "all",
    severities: Annotated[str | None, typer.Option(help="As in 3, 1,3 or 1-5; by default all.")] = None,
    family: Annotated[
        str | None,
        typer.Option(help="Whose constants: cifar, tiny-imagenet, imagenet, mnist-c; by default the image size's."),
    ] = None,
    samples: Annotated[str, typer.Option(help="The first N samples, or 'all'.")] = "all",
    seed: Annotated[int, typer.Option(help="Seed of every random number.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    gallery: Annotated[
        Path | None, typer.Option(help="Draw the first image instead, corruption by severity, as .png or .svg.")
    ] = None,
) -> None:
    """Write corrupted test images: NAME.npy and labels.npy, or folders of pictures where the data are pictures.

    'all' is the 15 test corruptions and the 4 extra ones, or those of the family mnist-c or cifar10-c-bar. The same
    command run again does only what is missing. `robusteval eval --official` reads the folder.
    """
    from robusteval.data import DATA
    from robusteval.data.folder import Folder
    from robusteval.data.tiny_imagenet import TinyImagenet
    from robusteval.engine.materialise import Materialise, chosen
    from robusteval.engine.plan import resolved

    wanted = chosen(_corruptions(corruptions, family), options.severities(severities))
    where, number, source = resolved(device), options.samples(samples), DATA.parse(data)
    place = _place(out, gallery)
    split = source.split("test")
    split = split.first(number) if isinstance(number, int) else split
    pictures = isinstance(source, Folder | TinyImagenet)
    for remark in dict.fromkeys(each.misfit(max(split.shape[1:])) for each, _ in wanted):
        if remark is not None:
            options.note(remark)
    if gallery is None:
        _write(Materialise(split, wanted, place, pictures, seed, where))
    else:
        _draw(place, split, wanted, family, seed)


def _place(out: Path | None, gallery: Path | None) -> Path:
    """Where the result goes."""
    from robusteval.core.files import check_writable

    if out is not None and gallery is not None:
        raise InputError("gallery: one picture is drawn instead of a set; leave out --out, or --gallery")
    if gallery is not None:
        require(gallery.suffix in (".png", ".svg"), "gallery", "must end in .png or .svg", str(gallery))
        check_writable("gallery", gallery.parent)
        return gallery
    if out is None:
        raise InputError("out: name the folder of the set with --out, or a picture with --gallery FILE.png")
    check_writable("out", out)
    return out


def _write(job: "Materialise") -> None:
    from tqdm import tqdm

    from robusteval.engine.materialise import run

    for place in run(job, lambda total, done: tqdm(total=total, initial=done, unit="shard", disable=None, delay=2)):
        print(place)


def _draw(place: Path, split: "Split", wanted: "Chosen", family: str | None, seed: int) -> None:
    from robusteval.reporting import figures
    from robusteval.reporting.gallery import changed, draw

    figures.save(draw(changed(split.images[0], wanted, seed, int(split.ids[0])), family), place)
    print(place)


def _corruptions(text: str, family: str | None) -> "list[Corruption]":
    from dataclasses import replace

    from robusteval.core.spec import split
    from robusteval.corruptions import CORRUPTIONS

    classes = CORRUPTIONS.classes
    if text == "all":
        own = {name for name, cls in classes.items() if cls.category not in _APART}
        wanted = own if family is None else {name for name, cls in classes.items() if family in cls.families}
        found = [CORRUPTIONS.parse(name) for name in classes if name in wanted]
        if not found:
            known = {each for cls in classes.values() for each in cls.families}
            raise SpecError(f"family={family!r}: no corruption has it; {nearest(str(family), known)}")
    else:
        found = [CORRUPTIONS.parse(spec) for spec in split(text)]
    twice = [each.name for each in found if [other.name for other in found].count(each.name) > 1]
    if twice or not found:
        raise InputError(f"corruptions={text!r}: " + (f"{twice[0]} is named twice" if twice else "names none"))
    return [each if family is None else replace(each, family=family) for each in found]
