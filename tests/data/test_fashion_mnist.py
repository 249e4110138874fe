import gzip
import shutil
import struct
from pathlib import Path

import pytest
import torch

from robusteval.core.errors import DataError, InputError
from robusteval.data import Augmentation, fashion_mnist
from robusteval.data.fashion_mnist import FashionMnist

IMAGES, LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
PIXELS = bytes(i % 256 for i in range(2 * 28 * 28))


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Two images in the official format, not gzipped."""
    (tmp_path / IMAGES).write_bytes(struct.pack(">4I", 0x803, 2, 28, 28) + PIXELS)
    (tmp_path / LABELS).write_bytes(struct.pack(">2I", 0x801, 2) + bytes([9, 2]))
    return tmp_path


def test_the_test_split_is_inside_the_package(offline: list[str]) -> None:
    split = FashionMnist().split("test")
    assert split.images.shape == (10_000, 1, 28, 28)
    assert split.images.dtype == torch.uint8
    assert split.labels[:10].tolist() == [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]
    assert split.classes[9] == "Ankle boot"
    assert torch.bincount(split.labels).tolist() == [1000] * 10
    assert round(split.images.float().mean().item() / 255, 4) == 0.2868
    assert split.digest == FashionMnist().split("test").digest
    assert offline == []


def test_the_licence_stands_beside_the_images() -> None:
    text = (Path(fashion_mnist.__file__).parent / "bundled" / "fashion-mnist" / "LICENSE").read_text()
    assert "MIT License" in text
    assert "Copyright (c) 2017 Zalando SE" in text


def test_the_train_split_comes_from_debian(offline: list[str]) -> None:
    if not Path("/usr/share/datasets/fashion-mnist").is_dir():
        pytest.skip("needs the Debian package dataset-fashion-mnist")
    split = FashionMnist().split("train")
    assert split.images.shape == (60_000, 1, 28, 28)
    assert split.labels[:5].tolist() == [9, 0, 0, 3, 0]
    assert torch.bincount(split.labels).tolist() == [6000] * 10
    assert FashionMnist.augmentation == Augmentation(flip=True)


def test_plain_and_gzipped_files_are_read(tiny: Path) -> None:
    plain = FashionMnist(root=str(tiny)).split("test")
    assert plain.images.flatten().tolist() == list(PIXELS)
    assert plain.labels.tolist() == [9, 2]
    raw = tiny / "gz" / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name in (IMAGES, LABELS):
        (raw / f"{name}.gz").write_bytes(gzip.compress((tiny / name).read_bytes()))
    assert FashionMnist(root=str(tiny / "gz")).split("test").digest == plain.digest


def test_missing_files_name_the_places_and_the_command(
    offline: list[str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fashion_mnist, "_DEBIAN", home / "nothing")
    with pytest.raises(DataError) as caught:
        FashionMnist().split("train")
    text = str(caught.value)
    assert "\n" not in text
    assert all(place in text for place in (f"{home}/.cache/robusteval/data/fashion-mnist", f"{home}/nothing"))
    assert text.endswith("apt-get install dataset-fashion-mnist")
    assert [url.rpartition("/")[2] for url in offline] == ["train-images-idx3-ubyte.gz"]


def test_a_root_without_the_files_is_downloaded_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def copy(url: str, folder: str, name: str, md5: str) -> None:
        assert len(md5) == 32
        shutil.copy(fashion_mnist._BUNDLED / name, folder)

    monkeypatch.setattr("torchvision.datasets.utils.download_url", copy)
    assert len(FashionMnist(root=str(tmp_path)).split("test")) == 10_000
    assert sorted(file.name for file in tmp_path.iterdir()) == [f"{IMAGES}.gz", f"{LABELS}.gz"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (IMAGES, b"", f"{IMAGES} cannot be read: unpack_from requires"),
        (IMAGES, struct.pack(">4I", 0x803, 2, 28, 28) + PIXELS[:-1], "cannot be read: it is cut off, or not an IDX"),
        (IMAGES, struct.pack(">4I", 0x801, 2, 28, 28) + PIXELS, "cannot be read: it is cut off, or not an IDX"),
        (f"{IMAGES}.gz", gzip.compress(PIXELS)[:-9], "gz cannot be read: "),
        (f"{IMAGES}.gz", b"no gzip", r"gz cannot be read: Not a gzipped file \(b'no'\)"),
    ],
)
def test_damaged_files_are_named(tiny: Path, name: str, content: bytes, message: str) -> None:
    (tiny / IMAGES).unlink()
    (tiny / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        FashionMnist(root=str(tiny)).split("test")


def test_labels_that_do_not_fit_are_an_error(tiny: Path) -> None:
    (tiny / LABELS).write_bytes(struct.pack(">2I", 0x801, 2) + bytes([9, 10]))
    with pytest.raises(InputError, match=r"labels=10: must be in 0\.\.9"):
        FashionMnist(root=str(tiny)).split("test")
