"""`robusteval corrupt` and the option that reads what it wrote."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import robusteval
from robusteval.data import DATA

Call = Callable[..., Any]
SPLIT = DATA.parse("digits").split("test").first(50)


def corrupt(command: Call, *more: str, names: str = "fog,contrast", out: str = "set") -> Any:
    return command("corrupt", "digits", "--samples", "50", "--corruptions", names, "--out", out, *more)


def test_the_pixels_are_those_of_the_python_front(desk: Path, command: Call) -> None:
    answer = corrupt(command, "--seed", "3", "--severities", "1-5")
    assert answer.code == 0
    assert answer.out.splitlines() == ["set/fog.npy", "set/contrast.npy"]
    images = np.load(desk / "set" / "fog.npy")
    assert images.shape == (250, 8, 8, 1)
    expected = robusteval.corrupt(SPLIT.images, "fog", 2, seed=3, ids=SPLIT.ids)
    assert torch.equal(torch.from_numpy(images[50:100]).permute(0, 3, 1, 2), expected)
    before = {path: path.stat().st_mtime_ns for path in (desk / "set").glob("*.npy")}
    assert corrupt(command, "--seed", "3").code == 0
    assert {path: path.stat().st_mtime_ns for path in (desk / "set").glob("*.npy")} == before


def test_eval_reads_them_as_a_stored_set(desk: Path, command: Call) -> None:
    (desk / "two.toml").write_text('[[views]]\nspecs = ["clean", "fog@2", "contrast@5"]\n')
    common = ("eval", "net.safetensors", "--suite", "two.toml", "--samples", "50", "--out")
    corrupt(command)
    assert command(*common, "generated").code == 0
    (desk / "set" / "robusteval.json").unlink()  # as if others had published it
    answer = command(*common, "official", "--official", "set")
    assert answer.code == 0
    assert "official:fog@2" in answer.out
    first, second = (pd.read_csv(desk / name / "metrics.csv") for name in ("generated", "official"))
    assert second["view"].str.removeprefix("official:").tolist() == first["view"].tolist()
    assert second["value"].tolist() == first["value"].tolist()
    assert set(second["origin"].dropna()) == {"official"}


def test_pictures_stay_pictures(desk: Path, command: Call) -> None:
    for row, (image, label) in enumerate(zip(SPLIT.images[:20, 0], SPLIT.labels[:20].tolist(), strict=True)):
        (desk / "photos" / f"class {label}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.numpy()).save(desk / "photos" / f"class {label}" / f"{row:02d}.png")
    options = ("--corruptions", "fog", "--severities", "3", "--out", "set")
    assert command("corrupt", "folder(path='photos')", *options).code == 0
    files = sorted((desk / "set" / "fog" / "3").rglob("*.png"))
    split = DATA.parse("folder(path='photos')").split("test")
    expected = robusteval.corrupt(split.images, "fog", 3)
    assert [file.name for file in files] == [f"{row:08d}.png" for row in range(20)]
    assert np.array_equal(np.stack([np.asarray(Image.open(file)) for file in files]), expected[:, 0].numpy())


def test_a_family_for_another_size_is_said(desk: Path, command: Call) -> None:
    answer = corrupt(command, "--family", "imagenet", "--severities", "1", names="contrast")
    assert "the constants of imagenet are not meant for images of 8 px; cifar's are" in answer.err
    assert sorted(path.name for path in (desk / "set").iterdir()) == [
        "contrast",
        "ids.npy",
        "labels.npy",
        "robusteval.json",
    ]


@pytest.mark.parametrize(("family", "count"), [(None, 19), ("mnist-c", 15), ("cifar10-c-bar", 10)])
def test_all(desk: Path, command: Call, family: str | None, count: int) -> None:
    more = () if family is None else ("--family", family)
    answer = command("corrupt", "digits", "--samples", "2", "--severities", "1", "--out", "set", *more)
    assert len(answer.out.splitlines()) == count


WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "unknown": (("--corruptions", "fogg"), "unknown corruption 'fogg': did you mean 'fog'"),
    "none": (("--corruptions", ","), "corruptions=',': names none"),
    "twice": (("--corruptions", "fog,snow,fog"), "fog is named twice"),
    "severity": (("--severities", "0-5"), "severities=0: "),
    "severities": (("--severities", "5-1"), "severities='5-1': names none; a range rises"),
    "letters": (("--severities", "1-"), "severities='1-': must be numbers and ranges between commas, as in 1-3,5"),
    "mnist-c": (("--family", "mnist-c", "--severities", "2"), "has the severities 1..1"),
    "family": (("--family", "cifra"), "family='cifra': no corruption has it; did you mean 'cifar'"),
    "family of one": (
        ("--corruptions", "fog", "--family", "cifra"),
        "fog has no family 'cifra': did you mean",
    ),
    "device": (("--device", "tpu"), "device='tpu': must be auto, cpu or cuda"),
    "out": (("--out", "tiny.toml"), "tiny.toml is a file"),
    "not a set": (("--out", "."), "the folder is not empty and no set made here"),
}


@pytest.mark.parametrize(("arguments", "said"), WRONG.values(), ids=WRONG.keys())
def test_bad_input_has_one_line_and_leaves_nothing(desk: Path, command: Call, arguments: Any, said: str) -> None:
    before = sorted(desk.rglob("*"))
    out = () if "--out" in arguments else ("--out", "set")
    assert said in command("corrupt", "digits", "--samples", "4", *out, *arguments).line
    assert sorted(desk.rglob("*")) == before


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("none", "official='none': there is no such file or folder"),
        ("net.safetensors", "must be the folder extracted from the archive"),
        ("empty", "holds no fog.npy and no folder fog/3"),
    ],
)
def test_a_stored_set_that_is_wrong(desk: Path, command: Call, folder: str, said: str) -> None:
    (desk / "empty").mkdir()
    arguments = ("--suite", "tiny.toml", "--official", folder)
    assert said in command("eval", "net.safetensors", *arguments).line
    assert not (desk / "reports").exists()


def test_a_gallery_is_one_picture(desk: Path, command: Call) -> None:
    answer = command(
        "corrupt", "digits", "--gallery", "one.png", "--corruptions", "fog,contrast", "--severities", "1,5"
    )
    assert answer.code == 0
    assert answer.out == "one.png\n"
    with Image.open(desk / "one.png") as picture:
        assert min(picture.size) > 150
    assert sorted(path.name for path in desk.iterdir()) == ["net.safetensors", "one.png", "tiny.toml"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--gallery", "one.pdf"), "gallery='one.pdf': must end in .png or .svg"),
        (("--gallery", "one.png", "--out", "set"), "leave out --out, or --gallery"),
        ((), "name the folder of the set with --out, or a picture with --gallery FILE.png"),
        (("--gallery", "one.png", "--severities", "7"), "severity=7: must be in 1..5"),
        (("--gallery", "tiny.toml/one.png"), "tiny.toml is a file"),
    ],
)
def test_a_gallery_that_cannot_be_drawn_is_said(desk: Path, command: Call, options: tuple[str, ...], said: str) -> None:
    assert said in command("corrupt", "digits", "--corruptions", "fog", *options).line
    assert not (desk / "one.png").exists()
