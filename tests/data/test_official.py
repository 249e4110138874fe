"""Stored sets in each published layout, read back as the test set's own samples; what is wrong has one line."""

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from robusteval.core.errors import DataError
from robusteval.core.rng import Stream
from robusteval.data import Split
from robusteval.data import official as module
from robusteval.data.official import MANIFEST, OfficialSet, StoredArray

N = 12
LEVELS = Stream.seeded(0).integers(torch.arange(5 * N), (8, 8, 3), 0, 256).to(torch.uint8).numpy()
LABELS = np.array([2, 0, 1, 1, 0, 2, 0, 1, 2, 2, 1, 0])
CLASSES = ("ant", "bee", "cat")


def clean(ids: torch.Tensor | None = None, channels: int = 3) -> Split:
    ids = torch.arange(N) if ids is None else ids
    images = torch.zeros(len(ids), channels, 8, 8, dtype=torch.uint8)
    return Split.of(images, torch.from_numpy(LABELS)[ids], CLASSES, ids)


def block(severity: int, rows: torch.Tensor | None = None) -> torch.Tensor:
    """What a model should see."""
    images = torch.from_numpy(LEVELS[(severity - 1) * N : severity * N]).permute(0, 3, 1, 2) / 255
    return images if rows is None else images[rows]


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    """As CIFAR-10-C."""
    np.save(tmp_path / "jpeg_compression.npy", LEVELS)
    np.save(tmp_path / "labels.npy", np.tile(LABELS, 5))
    return tmp_path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """As ImageNet-C: the pictures of a class in the order of the test set's."""
    for severity in (1, 4):
        for row, label in enumerate(LABELS):
            place = tmp_path / "digital" / "jpeg_compression" / str(severity) / f"n0{label}"
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(LEVELS[(severity - 1) * N + row]).save(place / f"val_{row:08d}.png")
    return tmp_path


@pytest.mark.parametrize("severity", [1, 3, 5])
@pytest.mark.parametrize("repeated", [True, False])
def test_an_array_holds_the_severities_one_after_the_other(arrays, severity, repeated):
    if not repeated:
        np.save(arrays / "labels.npy", LABELS)
    found = OfficialSet(arrays, clean()).view("jpeg-compression", severity, 5)
    assert torch.equal(found.images(slice(0, N)), block(severity))
    assert torch.equal(found.images(slice(4, 7)), block(severity)[4:7])


def test_a_subset_gets_its_own_samples(arrays):
    ids = torch.tensor([7, 2, 11])
    found = OfficialSet(arrays, clean(ids)).view("jpeg-compression", 2, 5)
    assert torch.equal(found.images(slice(0, 9)), block(2, ids))


def test_the_array_stays_on_disk_and_the_view_is_found_once(arrays):
    stored = OfficialSet(arrays, clean())
    found = stored.view("jpeg-compression", 3, 5)
    assert isinstance(found, StoredArray)
    assert isinstance(found._array, np.memmap)
    assert stored.view("jpeg-compression", 3, 5) is found
    assert stored.view("jpeg-compression", 2, 5) is not found


def test_the_digest_is_that_of_the_rows_that_are_used(arrays):
    def digest(severity: int, n: int) -> str:
        return OfficialSet(arrays, clean()).view("jpeg-compression", severity, 5).digest(n)

    before = [digest(2, 6), digest(2, N), digest(3, N)]
    assert len(set(before)) == 3
    other = LEVELS.copy()
    other[N + 6, 0, 0, 0] ^= 1  # the seventh of the second severity
    np.save(arrays / "jpeg_compression.npy", other)
    assert [digest(2, 6), digest(2, N), digest(3, N)] == [before[0], digest(2, N), before[2]]
    assert digest(2, N) != before[1]


def test_mnist_c_has_a_folder_for_each_corruption(tmp_path):
    (tmp_path / "fog").mkdir()
    np.save(tmp_path / "fog" / "test_images.npy", LEVELS[:N, ..., :1])
    np.save(tmp_path / "fog" / "test_labels.npy", LABELS)
    stored = OfficialSet(tmp_path, clean(channels=1))
    assert torch.equal(stored.view("fog", 1, 1).images(slice(0, N)), block(1)[:, :1])
    assert stored.view("fog", 1, 1).images(slice(0, N)).stride() == (64, 64, 8, 1)
    assert torch.equal(OfficialSet(tmp_path, clean()).view("fog", 1, 1).images(slice(0, N))[:, 2], block(1)[:, 0])
    with pytest.raises(
        DataError, match=r"is MNIST-C, whose fog has one severity: .* official:fog\(family='mnist-c'\)@1"
    ):
        stored.view("fog", 1, 5)


def test_a_severity_may_have_its_own_array_and_the_samples_their_ids(tmp_path):
    (tmp_path / "fog").mkdir()
    ids = np.array([40, 7, 19])
    np.save(tmp_path / "fog" / "3.npy", LEVELS[:3])
    np.save(tmp_path / "labels.npy", LABELS[:3])
    np.save(tmp_path / "ids.npy", ids)
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    split = Split.of(images, torch.from_numpy(LABELS[[2, 0]]), CLASSES, torch.tensor([19, 40]))
    assert torch.equal(OfficialSet(tmp_path, split).view("fog", 3, 5).images(slice(0, 2)), block(1)[[2, 0]])
    absent = Split.of(images, split.labels, CLASSES, torch.tensor([19, 41]))
    with pytest.raises(DataError, match=r"3\.npy has no sample 41: it is of another test set"):
        OfficialSet(tmp_path, absent).view("fog", 3, 5)


def test_pictures_are_matched_class_by_class(tree):
    found = OfficialSet(tree, clean()).view("jpeg-compression", 4, 5)
    assert torch.equal(found.images(slice(0, N)), block(4))
    assert torch.equal(found.images(slice(5, 8)), block(4)[5:8])
    assert found.digest(N) != OfficialSet(tree, clean()).view("jpeg-compression", 1, 5).digest(N)


def test_folders_that_are_named_as_the_classes_go_by_their_names(tree):
    for severity in (1, 4):
        place = tree / "digital" / "jpeg_compression" / str(severity)
        for label, name in enumerate(("zebra", "cow", "eel")):
            (place / f"n0{label}").rename(place / name)
    split = clean()
    named = Split(split.images, split.labels, split.ids, ("zebra", "cow", "eel"))
    assert torch.equal(OfficialSet(tree, named).view("jpeg-compression", 1, 5).images(slice(0, N)), block(1))


def test_ids_may_go_by_the_numbers_in_the_names(tree):
    for file in tree.rglob("*.png"):
        file.rename(file.with_name(f"val_{int(file.stem[4:])}.png"))
    by_number = OfficialSet(tree, clean(), numbered=True).view("jpeg-compression", 1, 5)
    assert torch.equal(by_number.images(slice(0, N)), block(1))
    by_name = OfficialSet(tree, clean()).view("jpeg-compression", 1, 5)
    assert not torch.equal(by_name.images(slice(0, N)), block(1))  # val_10 comes before val_2


def test_pictures_made_here_may_be_of_some_samples(tree):
    """Named after their samples, so that the first 7 need no others."""
    for file in sorted(tree.rglob("*.png")):
        row = int(file.stem[4:])
        file.unlink() if row >= 7 else file.rename(file.with_name(f"{row:08d}.png"))
    (tree / MANIFEST).write_text("{}")
    some = OfficialSet(tree, Split(clean().images, clean().labels, clean().ids, ("n00", "n01", "n02")))
    assert torch.equal(some.view("jpeg-compression", 4, 5, 7).images(slice(0, 7)), block(4)[:7])
    with pytest.raises(DataError, match="has no sample 7: it holds 7 pictures of the 8 needed"):
        some.view("jpeg-compression", 4, 5, 8)
    moved = next((tree / "digital" / "jpeg_compression" / "1" / "n01").glob("*.png"))
    moved.rename(moved.parent.with_name("n00") / moved.name)
    with pytest.raises(DataError, match="1 of 7 pictures are not in the folder of their class"):
        some.view("jpeg-compression", 1, 5, 7)


def test_a_set_made_here_is_not_official(arrays):
    assert OfficialSet(arrays, clean()).origin == "official"
    (arrays / MANIFEST).write_text("{}")
    assert OfficialSet(arrays, clean()).origin == "generated"


def test_it_can_be_sent_to_a_worker(arrays):
    again = pickle.loads(pickle.dumps(OfficialSet(arrays, clean())))
    assert torch.equal(again.view("jpeg-compression", 1, 5).images(slice(0, 2)), block(1)[:2])


def test_the_archive_is_checked_where_it_lies_beside(arrays, monkeypatch):
    archive = arrays.with_name(f"{arrays.name}.tar")
    monkeypatch.setattr(module, "_MD5", {arrays.name: hashlib.md5(b"whole").hexdigest()})
    OfficialSet(arrays, clean()).check_archive()
    archive.write_bytes(b"whole")
    OfficialSet(arrays, clean()).check_archive()
    archive.write_bytes(b"cut")
    with pytest.raises(DataError, match=r"\.tar is damaged: its md5 sum is [0-9a-f]{32}, not"):
        OfficialSet(arrays, clean()).check_archive()
    archive.unlink()


def test_the_published_sums():
    """Of zenodo.org/records/2535967 and 3555552."""
    assert module._MD5["CIFAR-10-C"] == "56bf5dcef84df0e2308c6dcbcbbd8499"
    assert module._MD5["CIFAR-100-C"] == "11f0ed0f1191edbf9fa23466ae6021d3"


def cut(place: Path) -> None:
    file = place / "jpeg_compression.npy"
    file.write_bytes(file.read_bytes()[:3000])


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "no array": (
        lambda at: (at / "jpeg_compression.npy").rename(at / "fog.npy"),
        "holds no jpeg_compression.npy and no",
    ),
    "a misspelt array": (
        lambda at: (at / "jpeg_compression.npy").rename(at / "jpg_compression.npy"),
        "did you mean 'jpg_compression'?",
    ),
    "no labels": (lambda at: (at / "labels.npy").unlink(), "labels.npy is missing: the stored set is incomplete"),
    "other labels": (
        lambda at: np.save(at / "labels.npy", np.zeros(N, int)),
        "labels.npy: 8 of 12 labels are not those",
    ),
    "too few labels": (
        lambda at: np.save(at / "labels.npy", LABELS[:5]),
        "has shape (5,): jpeg_compression.npy has 60",
    ),
    "no integers": (lambda at: np.save(at / "labels.npy", LABELS / 2), "labels.npy holds float64, not integers"),
    "one severity": (
        lambda at: np.save(at / "jpeg_compression.npy", LEVELS[: N - 1]),
        "holds uint8 of shape (11, 8, 8, 3), not uint8 [5 x n, 8, 8, 3]",
    ),
    "other size": (lambda at: np.save(at / "jpeg_compression.npy", LEVELS[:, :7]), "shape (60, 7, 8, 3), not uint8"),
    "floats": (lambda at: np.save(at / "jpeg_compression.npy", LEVELS / 255), "holds float64, not uint8"),
    "fewer samples": (lambda at: np.save(at / "jpeg_compression.npy", LEVELS[:50]), "it is of another test set"),
    "truncated": (cut, "jpeg_compression.npy cannot be read"),
    "a web page": (lambda at: (at / "jpeg_compression.npy").write_text("<html>"), "cannot be read"),
}


@pytest.mark.parametrize(("break_it", "said"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_array_has_one_line(arrays, break_it, said):
    break_it(arrays)
    if said == "it is of another test set":
        np.save(arrays / "labels.npy", LABELS[:10])
    with pytest.raises(DataError) as caught:
        OfficialSet(arrays, clean()).view("jpeg-compression", 3, 5)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wrong_pictures_have_one_line(tree):
    place = tree / "digital" / "jpeg_compression"
    with pytest.raises(DataError, match=r"holds no jpeg_compression\.npy and no folder jpeg_compression/2"):
        OfficialSet(tree, clean()).view("jpeg-compression", 2, 5)
    small = Split.of(torch.zeros(N, 3, 9, 9), torch.from_numpy(LABELS), CLASSES)
    with pytest.raises(DataError, match=r"1: holds images of shape \(3, 8, 8\), the test set \(3, 9, 9\)"):
        OfficialSet(tree, small).view("jpeg-compression", 1, 5)
    with pytest.raises(DataError, match=r"holds images of shape \(3, 8, 8\), the test set \(1, 8, 8\)"):
        OfficialSet(tree, clean(channels=1)).view("jpeg-compression", 1, 5)
    next((place / "1" / "n01").iterdir()).unlink()
    with pytest.raises(DataError, match=r"n01 holds 3 pictures, the test set has 4 of that class"):
        OfficialSet(tree, clean()).view("jpeg-compression", 1, 5)
    (place / "1" / "n03").mkdir()
    with pytest.raises(DataError, match=r"1 has folders of 4 classes, the test set 3"):
        OfficialSet(tree, clean()).view("jpeg-compression", 1, 5)


@pytest.mark.parametrize(
    ("name", "said"), [("none", "there is no such file or folder"), ("labels.npy", "must be the folder")]
)
def test_the_folder_must_be_one(arrays, name, said):
    with pytest.raises(DataError, match=f"^official='.*{name}': {said}"):
        OfficialSet(arrays / name, clean())
