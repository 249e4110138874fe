from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.transforms.functional import pil_to_tensor

from robusteval.core.errors import DataError
from robusteval.data.folder import Folder


def tree(root: Path, *names: str, mode: str = "RGB", size: tuple[int, int] = (8, 6)) -> Path:
    for number, name in enumerate(names):
        pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).convert(mode).save(root / name)
    return root


def test_it_reads_what_torchvision_reads(tmp_path: Path) -> None:
    tree(tmp_path, "dog/10.png", "dog/2.png", "cat/b.bmp", "cat/a.PNG", "ant/sub/x.png")
    (tmp_path / "cat" / "notes.txt").write_text("no picture")
    ours, theirs = Folder(path=str(tmp_path)).split("test"), ImageFolder(tmp_path)
    assert list(ours.classes) == theirs.classes == ["ant", "cat", "dog"]
    assert ours.labels.tolist() == theirs.targets
    assert torch.equal(ours.images, torch.stack([pil_to_tensor(image) for image, _ in theirs]))
    assert ours.digest == Folder(path=str(tmp_path)).split("test").digest


@pytest.mark.parametrize("word", ["test", "val"])
def test_a_folder_per_split_shares_its_classes(tmp_path: Path, word: str) -> None:
    tree(tmp_path, "train/a/1.png", "train/b/1.png", "train/c/1.png", f"{word}/c/1.png", f"{word}/a/1.png")
    train, test = (Folder(path=str(tmp_path)).split(name) for name in ("train", "test"))
    assert train.classes == test.classes == ("a", "b", "c")
    assert (train.labels.tolist(), test.labels.tolist()) == ([0, 1, 2], [0, 2])


def test_grey_trees_stay_grey(tmp_path: Path) -> None:
    tree(tmp_path, "a/1.png", "b/1.png", mode="L")
    assert Folder(path=str(tmp_path)).split("test").shape == (1, 6, 8)


def test_hidden_files_are_passed_over(tmp_path: Path) -> None:
    tree(tmp_path, "a/1.png", "a/.2.png", ".trash/3.png")
    split = Folder(path=str(tmp_path)).split("test")
    assert (len(split), split.classes) == (1, ("a",))


def test_missing_splits_say_which_exist(tmp_path: Path) -> None:
    tree(tmp_path / "flat", "a/1.png")
    tree(tmp_path / "train_only", "train/a/1.png")
    with pytest.raises(DataError, match=r"flat has no train split, only test$"):
        Folder(path=str(tmp_path / "flat")).split("train")
    with pytest.raises(DataError, match=r"train_only has no test split, only train$"):
        Folder(path=str(tmp_path / "train_only")).split("test")


def test_sizes_must_agree_unless_size_is_given(tmp_path: Path) -> None:
    tree(tmp_path, "a/1.png", "b/1.png")
    tree(tmp_path, "b/0.png", size=(9, 7))
    with pytest.raises(DataError, match=r"b/0\.png is 9x7 pixels but .*a/1\.png is 8x6"):
        Folder(path=str(tmp_path)).split("test")
    assert Folder(path=str(tmp_path), size=5).split("test").images.shape == (3, 3, 5, 5)


def test_a_broken_picture_is_named(tmp_path: Path) -> None:
    tree(tmp_path, "a/1.png")
    (tmp_path / "a" / "2.png").write_bytes((tmp_path / "a" / "1.png").read_bytes()[:60])
    with pytest.raises(DataError, match=r"a/2\.png cannot be read: "):
        Folder(path=str(tmp_path)).split("test")


@pytest.mark.parametrize("name", ["nothing.txt", "picture.png"])
def test_a_folder_without_classes_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(DataError, match=r"holds no picture in a folder per class \(\.bmp \.jpeg"):
        Folder(path=str(tmp_path)).split("test")
