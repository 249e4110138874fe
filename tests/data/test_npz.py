from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from robusteval.core.errors import DataError, InputError
from robusteval.data.npz import Npz

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 6, 7, 3), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 1, 0])


def saved(folder: Path, **arrays: Any) -> Npz:
    np.savez(folder / "it.npz", **arrays)
    return Npz(path=str(folder / "it.npz"))


def test_the_cifar_slice(shared_data: Path) -> None:
    data = Npz(path=str(shared_data / "cifar10-slice.npz"))
    test, train = data.split("test"), data.split("train")
    assert test.images.shape == (1017, 3, 32, 32)
    assert test.images.dtype == torch.uint8
    assert test.labels[:5].tolist() == [3, 8, 8, 0, 6]
    assert test.ids.tolist() == list(range(1017))
    assert len(train) == 8068
    assert train.labels[:5].tolist() == [6, 9, 9, 4, 1]
    assert len(train.classes) == 10
    assert test.digest == data.split("test").digest
    with np.load(shared_data / "cifar10-slice.npz") as archive:
        assert np.array_equal(train.ids, archive["train_index"])
        assert np.array_equal(test.images[7].permute(1, 2, 0), archive["test_images"][7])


@pytest.mark.parametrize("keys", [("test_images", "test_labels"), ("x_test", "y_test"), ("images", "labels")])
def test_three_ways_to_name_the_arrays(tmp_path: Path, keys: tuple[str, str]) -> None:
    split = saved(tmp_path, **{keys[0]: IMAGES, keys[1]: LABELS}).split("test")
    assert torch.equal(split.images, torch.from_numpy(IMAGES).permute(0, 3, 1, 2))
    assert split.images.is_contiguous()
    assert split.labels.tolist() == LABELS.tolist()


def test_keras_labels_are_a_column(tmp_path: Path) -> None:
    split = saved(tmp_path, x_train=IMAGES, y_train=LABELS[:, None].astype(np.uint8)).split("train")
    assert split.labels.tolist() == LABELS.tolist()


@pytest.mark.parametrize("images", [IMAGES, IMAGES.transpose(0, 3, 1, 2), IMAGES[..., 0], IMAGES[..., :1]])
def test_layouts(tmp_path: Path, images: np.ndarray) -> None:
    split = saved(tmp_path, images=images, labels=LABELS).split("test")
    assert split.shape == (3 if 3 in images.shape else 1, 6, 7)
    assert np.array_equal(split.images[:, 0], IMAGES[..., 0])


def test_floats_stay_floats(tmp_path: Path) -> None:
    split = saved(tmp_path, images=(IMAGES / 255).astype(">f8"), labels=LABELS).split("test")
    assert split.images.dtype == torch.float32
    assert torch.allclose(split.images * 255, torch.from_numpy(IMAGES).permute(0, 3, 1, 2).float(), atol=1e-4)


def test_classes_are_named_or_counted_over_all_splits(tmp_path: Path) -> None:
    arrays = {"train_images": IMAGES, "train_labels": LABELS + 4, "test_images": IMAGES, "test_labels": LABELS}
    assert len(saved(tmp_path, **arrays).split("test").classes) == 7
    named = saved(tmp_path, **arrays, classes=np.array(list("abcdefg"))).split("test")
    assert named.classes == tuple("abcdefg")


def test_only_the_images_of_the_split_are_read(tmp_path: Path) -> None:
    path = tmp_path / "it.npz"
    data = saved(tmp_path, x_train=IMAGES, y_train=LABELS, x_test=IMAGES + 1, y_test=LABELS)
    content = path.read_bytes()
    path.write_bytes(content.replace(IMAGES.tobytes(), bytes(IMAGES.size)))
    assert len(data.split("test")) == 5
    with pytest.raises(DataError, match=r"it\.npz cannot be read: Bad CRC-32"):
        data.split("train")


def test_a_missing_split_says_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"with the keys images, labels\) has no train split, only test$"):
        saved(tmp_path, images=IMAGES, labels=LABELS).split("train")
    with pytest.raises(DataError, match=r"with the keys data, target\) has no test split$"):
        saved(tmp_path, data=IMAGES, target=LABELS).split("test")
    with pytest.raises(DataError, match=r"with the keys images\) has no test split$"):
        saved(tmp_path, images=IMAGES).split("test")


@pytest.mark.parametrize(
    ("arrays", "error", "message"),
    [
        ({"images": IMAGES.astype(np.int64)}, InputError, "images='torch.int64': must be uint8 or floats"),
        ({"images": IMAGES.astype(np.float32)}, InputError, r"images='\[0, 255\]': must be finite and in \[0, 1\]"),
        ({"images": IMAGES[0]}, InputError, r"labels=\(5,\): must have shape \[6\]"),
        ({"images": IMAGES[:0]}, DataError, "the data set is empty"),
        ({"images": IMAGES[..., :2]}, InputError, r"images=\(5, 6, 7, 2\): must have shape"),
        ({"labels": LABELS / 2}, InputError, "labels='torch.float64': must be integers"),
        ({"labels": LABELS[:4]}, InputError, r"labels=\(4,\): must have shape \[5\]"),
        ({"labels": LABELS.astype(str)}, InputError, "labels='<U21': must be an array of numbers"),
        ({"labels": LABELS, "classes": np.array(["a"])}, InputError, r"labels=1: must be in 0\.\.0"),
        ({"images": np.array([{}], dtype=object)}, DataError, "cannot be read: Object arrays cannot be loaded"),
        ({"test_index": LABELS}, InputError, "ids=0: must be unique"),
    ],
)
def test_bad_arrays_are_named(tmp_path: Path, arrays: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        saved(tmp_path, **({"images": IMAGES, "labels": LABELS} | arrays)).split("test")


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 and no more"])
def test_other_files_are_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "it.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"it\.npz cannot be read: it is cut off, or not an npz archive$"):
        Npz(path=str(tmp_path / "it.npz")).split("test")


def test_a_cut_off_archive_is_an_error(tmp_path: Path) -> None:
    data = saved(tmp_path, images=IMAGES, labels=LABELS)
    (tmp_path / "it.npz").write_bytes((tmp_path / "it.npz").read_bytes()[:-40])
    with pytest.raises(DataError, match=r"it\.npz cannot be read: "):
        data.split("test")


def test_a_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: "):
        Npz(path=str(tmp_path)).split("test")
