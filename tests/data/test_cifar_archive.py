import pickle
import struct
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torchvision

from robusteval.core.errors import DataError
from robusteval.data import cifar10, cifar100
from robusteval.data.cifar10 import Cifar10
from robusteval.data.cifar100 import Cifar100

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


class Python2Pickler(pickle._Pickler):
    """Writes what Python 2 wrote, as the official batches have it: every string is a byte string (opcode T)."""

    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)

    def save_bytes(self, text: bytes) -> None:
        self.write(b"T" + struct.pack("<i", len(text)) + text)
        self.memoize(text)

    def save_str(self, text: str) -> None:
        self.save_bytes(text.encode())

    dispatch[bytes] = save_bytes
    dispatch[str] = save_str


def python2(value: object) -> bytes:
    stream = BytesIO()
    Python2Pickler(stream, protocol=2).dump(value)
    return stream.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


@pytest.fixture
def slice_(shared_data: Path) -> tuple[np.ndarray, np.ndarray]:
    with np.load(shared_data / "cifar10-slice.npz") as archive:
        return archive["test_images"][:20], archive["test_labels"][:20]


@pytest.fixture
def folder(slice_: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> Path:
    """The official CIFAR-10 folder with 20 real test images, two in each training batch."""
    images, labels = slice_
    rows = images.transpose(0, 3, 1, 2).reshape(20, 3072)
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    parts = {f"data_batch_{n}": slice(2 * n - 2, 2 * n) for n in range(1, 6)} | {"test_batch": slice(20)}
    for name, chosen in parts.items():
        batch = {"batch_label": name, "labels": labels[chosen].tolist(), "data": rows[chosen], "filenames": ["a.png"]}
        (folder / name).write_bytes(python2(batch))
    (folder / "batches.meta").write_bytes(python2({"num_cases_per_batch": 2, "label_names": NAMES, "num_vis": 3072}))
    return folder


def packed(folder: Path) -> Path:
    archive = folder.with_name("cifar-10-python.tar.gz")
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, folder.name)
    return archive


def test_the_pickles_are_what_torchvision_reads(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Torchvision would refuse them for their sums alone."""
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "_check_integrity", lambda _: True)
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda *_: True)
    for split in ("train", "test"):
        theirs = torchvision.datasets.CIFAR10(folder.parent, train=split == "train")
        ours = Cifar10(root=str(folder)).split(split)
        assert torch.equal(ours.images.permute(0, 2, 3, 1), torch.from_numpy(theirs.data))
        assert ours.labels.tolist() == theirs.targets
        assert list(ours.classes) == theirs.classes


@pytest.mark.parametrize("place", [lambda folder: folder, lambda folder: folder.parent], ids=["itself", "parent"])
def test_the_folder_is_found(
    folder: Path, place: Callable[[Path], Path], slice_: tuple[np.ndarray, np.ndarray]
) -> None:
    images, labels = slice_
    test = Cifar10(root=str(place(folder))).split("test")
    assert torch.equal(test.images, torch.from_numpy(images).permute(0, 3, 1, 2))
    assert test.labels.tolist() == labels.tolist()
    assert test.labels[:5].tolist() == [3, 8, 8, 0, 6]
    assert test.classes == tuple(NAMES)
    assert len(Cifar10(root=str(place(folder))).split("train")) == 10


def test_the_archive_is_read_where_it_lies(folder: Path, home: Path) -> None:
    digests = {Cifar10(root=str(folder)).split(name).digest for name in ("train", "test")}
    archive = packed(folder)
    folder.rename(folder.with_name("elsewhere"))
    assert digests == {Cifar10(root=str(archive)).split(name).digest for name in ("train", "test")}
    assert digests == {Cifar10(root=str(archive.parent)).split(name).digest for name in ("train", "test")}
    cache = home / ".cache" / "robusteval" / "data"
    cache.mkdir(parents=True)
    archive.rename(cache / archive.name)
    assert digests == {Cifar10().split(name).digest for name in ("train", "test")}


def test_the_archive_is_downloaded_once(
    folder: Path, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    content, asked = packed(folder).read_bytes(), []

    def download(url: str, place: str, name: str, md5: str) -> None:
        asked.append(url)
        (Path(place) / name).write_bytes(content)

    monkeypatch.setattr(torchvision.datasets.utils, "download_url", download)
    assert Cifar10().split("test").digest == Cifar10().split("test").digest
    assert asked == ["https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"]


def test_cifar100_has_fine_labels(slice_: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    images, labels = slice_
    rows = images.transpose(0, 3, 1, 2).reshape(20, 3072)
    fine, coarse = labels.tolist(), [0] * 20
    fine[0] = 99
    (tmp_path / "test").write_bytes(python2({"data": rows, "fine_labels": fine, "coarse_labels": coarse}))
    meta = {"fine_label_names": [f"fine{n}" for n in range(100)], "coarse_label_names": ["coarse"] * 20}
    (tmp_path / "meta").write_bytes(python2(meta))
    test = Cifar100(root=str(tmp_path)).split("test")
    assert test.labels[:5].tolist() == [99, 8, 8, 0, 6]
    assert (len(test.classes), test.classes[99]) == (100, "fine99")
    with pytest.raises(DataError, match="holds no train: cifar100 is incomplete"):
        Cifar100(root=str(tmp_path)).split("train")


@pytest.mark.parametrize(("module", "theirs"), [(cifar10, "CIFAR10"), (cifar100, "CIFAR100")])
def test_names_and_sums_are_the_official_ones(module: Any, theirs: str) -> None:
    ours, official = module._ARCHIVE, getattr(torchvision.datasets, theirs)
    assert (ours.folder, ours.archive, ours.md5) == (official.base_folder, official.filename, official.tgz_md5)
    assert list(ours.batches["train"]) == [name for name, _ in official.train_list]
    assert list(ours.batches["test"]) == [name for name, _ in official.test_list]
    assert (ours.meta, ours.classes) == (official.meta["filename"], official.meta["key"])


@pytest.mark.parametrize("kind", [Cifar10, Cifar100])
def test_missing_data_name_the_places_and_the_command(kind: Any, offline: list[str], home: Path) -> None:
    cache = home / ".cache" / "robusteval" / "data"
    with pytest.raises(DataError) as caught:
        kind().split("test")
    text = str(caught.value)
    assert "\n" not in text
    assert f"looked in {cache}, " in text
    archive = cache / offline[0].rpartition("/")[2]
    assert text.endswith(f"get it with: curl --create-dirs -o {archive} {offline[0]}")


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("raise SystemExit('the pickle ran')",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read: Ran out of input"),
        (pickle.dumps(Evil()), r"cannot be read: a CIFAR batch has no use for builtins\.exec"),
        (python2({"labels": [1]}), "cannot be read: 'data'"),
        (python2([1, 2]), "cannot be read: list indices must be integers"),
        (python2({"labels": [1], "data": np.zeros((1, 3071), np.uint8)}), "cannot be read: cannot reshape"),
    ],
)
def test_damaged_batches_are_named(folder: Path, content: bytes, message: str) -> None:
    (folder / "test_batch").write_bytes(content)
    with pytest.raises(DataError, match=f"cifar-10-batches-py {message}"):
        Cifar10(root=str(folder)).split("test")


def test_cut_off_files_are_an_error(folder: Path) -> None:
    whole = (folder / "test_batch").read_bytes()
    (folder / "test_batch").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot be read: pickle data was truncated"):
        Cifar10(root=str(folder)).split("test")
    archive = packed(folder)
    archive.write_bytes(archive.read_bytes()[:-2000])
    with pytest.raises(DataError, match=r"tar\.gz cannot be read: "):
        Cifar10(root=str(archive)).split("test")


def test_a_missing_batch_is_named(folder: Path) -> None:
    (folder / "data_batch_3").unlink()
    with pytest.raises(DataError, match="holds no data_batch_3: cifar10 is incomplete"):
        Cifar10(root=str(folder)).split("train")
    with pytest.raises(DataError, match="holds no data_batch_3: cifar10 is incomplete"):
        Cifar10(root=str(packed(folder))).split("train")
