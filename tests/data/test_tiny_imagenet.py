import io
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.transforms.functional import pil_to_tensor

from robusteval.core.errors import DataError
from robusteval.data.tiny_imagenet import TinyImagenet

TOP = "tiny-imagenet-200"
WNIDS = ["n02124075", "n01443537"]


@pytest.fixture(scope="session")
def official(shared_data: Path) -> Path:
    return shared_data / "tiny-imagenet-200.zip"


@pytest.fixture(scope="session")
def pristine(official: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two of the classes, extracted: ten training images of each, and four validation images."""
    root = tmp_path_factory.mktemp("tiny") / TOP
    with zipfile.ZipFile(official) as archive:
        train = [n for w in WNIDS for n in archive.namelist() if n.startswith(f"{TOP}/train/{w}/images/{w}_")]
        rows = archive.read(f"{TOP}/val/val_annotations.txt").decode().splitlines(keepends=True)
        rows = [row for row in rows if row.split("\t")[1] in WNIDS][:4]
        val = [f"{TOP}/val/images/{row.split()[0]}" for row in rows]
        archive.extractall(root.parent, [*train[:10], *train[-10:], *val, f"{TOP}/words.txt"])
    (root / "val" / "val_annotations.txt").write_text("".join(rows))
    (root / "wnids.txt").write_text("\n".join(WNIDS))
    return root


@pytest.fixture
def small(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / TOP))


def test_the_official_validation_images(official: Path) -> None:
    test = TinyImagenet(path=str(official)).split("test")
    assert test.images.shape == (10_000, 3, 64, 64)
    assert test.images.dtype == torch.uint8
    assert torch.bincount(test.labels).tolist() == [50] * 200
    assert test.ids.tolist() == list(range(10_000))
    with zipfile.ZipFile(official) as archive:
        wnids = sorted(archive.read(f"{TOP}/wnids.txt").decode().split())
        picture = Image.open(io.BytesIO(archive.read(f"{TOP}/val/images/val_4321.JPEG"))).convert("RGB")
    assert test.labels[0] == wnids.index("n03444034")
    assert test.classes[test.labels[0]] == "go-kart"
    assert len(set(test.classes)) == 200
    assert torch.equal(test.images[4321], pil_to_tensor(picture))


def test_the_official_training_images(official: Path) -> None:
    train = TinyImagenet(path=str(official)).split("train")
    assert train.images.shape == (10_000, 3, 64, 64)
    assert torch.bincount(train.labels).tolist() == [50] * 200
    assert torch.equal(train.ids // 500, train.labels)
    assert train.ids[:50].tolist() == list(range(50))


def test_zip_folder_and_parent_are_the_same(small: Path) -> None:
    archive = shutil.make_archive(str(small.parent / "packed"), "zip", small.parent, TOP)
    for split in ("train", "test"):
        digests = {TinyImagenet(path=str(path)).split(split).digest for path in (archive, small, small.parent)}
        assert len(digests) == 1


def test_classes_and_labels_are_image_folders(small: Path) -> None:
    ours, theirs = TinyImagenet(path=str(small)).split("train"), ImageFolder(small / "train")
    assert ours.classes == ("goldfish", "Egyptian cat")
    assert ours.labels.tolist() == theirs.targets
    mean = torch.stack([pil_to_tensor(image) for image, _ in theirs]).float().mean()
    assert torch.isclose(ours.images.float().mean(), mean)


def test_grey_pictures_become_colour(small: Path) -> None:
    for file in small.rglob("val_*.JPEG"):
        Image.open(file).convert("L").save(file)
        break
    assert TinyImagenet(path=str(small)).split("test").shape == (3, 64, 64)


def test_names_without_words_are_wordnet_ids(small: Path) -> None:
    (small / "words.txt").unlink()
    assert TinyImagenet(path=str(small)).split("test").classes == tuple(sorted(WNIDS))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("wnids.txt", None, "tiny-imagenet-200 is not Tiny-ImageNet: it has no wnids.txt"),
        ("val/val_annotations.txt", None, r"is not Tiny-ImageNet: it has no val/val_annotations\.txt"),
        ("val/val_annotations.txt", b"val_0.JPEG\n", "has a line without a known class: .'val_0.JPEG'"),
        ("val/val_annotations.txt", b"val_0.JPEG\tn1\n", "has a line without a known class: .'val_0.JPEG', 'n1'"),
        ("val/val_annotations.txt", b"no.JPEG\tn02124075\n", r"images/no\.JPEG cannot be read: .*No such file"),
        ("val/val_annotations.txt", b"", "the data set is empty"),
        ("wnids.txt", b"\xff\xfe", "cannot be read: 'utf-8' codec"),
    ],
)
def test_a_damaged_folder_is_named(small: Path, name: str, content: bytes | None, message: str) -> None:
    (small / name).unlink()
    if content is not None:
        (small / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        TinyImagenet(path=str(small)).split("test")


def test_a_damaged_zip_is_named(small: Path) -> None:
    archive = Path(shutil.make_archive(str(small.parent / "packed"), "zip", small.parent, TOP))
    content = archive.read_bytes()
    archive.write_bytes(content[:-100])
    with pytest.raises(DataError, match=r"packed\.zip cannot be read: "):
        TinyImagenet(path=str(archive)).split("test")
    archive.write_bytes(b"no zip")
    with pytest.raises(DataError, match=r"packed\.zip cannot be read: File is not a zip file"):
        TinyImagenet(path=str(archive)).split("test")


def test_a_damaged_picture_is_named(small: Path) -> None:
    file = min(small.rglob("val_*.JPEG"))
    file.write_bytes(file.read_bytes()[:300])
    with pytest.raises(DataError, match=rf"{file.name} cannot be read: "):
        TinyImagenet(path=str(small)).split("test")
