import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pyarrow import parquet
from torchvision.transforms.functional import pil_to_tensor

from robusteval.core.errors import DataError, InputError
from robusteval.data.hf_parquet import HfParquet


def png(level: int, size: tuple[int, int] = (4, 3)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, (level, 0, 255)).save(stream, "PNG")
    return stream.getvalue()


def write(file: Path, levels: list[int], names: list[str] | None = None, **columns: Any) -> Path:
    """A file as the library `datasets` writes it; a column that is None is left out."""
    cells = [{"bytes": png(level), "path": None} for level in levels]
    filled = {"image": cells, "label": levels} | columns
    table = pa.table({key: value for key, value in filled.items() if value is not None})
    if names:
        features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    file.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, file)
    return file


def levels(path: Path, split: str) -> list[int]:
    return HfParquet(path=str(path)).split(split).images[:, 0, 0, 0].tolist()


def test_cifar10_as_hugging_face_stores_it(shared_data: Path) -> None:
    folder = shared_data / "cifar10-jpeg"
    test = HfParquet(path=str(folder)).split("test")
    assert test.images.shape == (10_000, 3, 32, 32)
    assert test.images.dtype == torch.uint8
    assert torch.bincount(test.labels).tolist() == [1000] * 10
    assert len(test.classes) == 10
    file = folder / "test-00000-of-00001.parquet"
    rows = parquet.read_table(file).slice(9990).to_pylist()
    for row, image, label in zip(rows, test.images[9990:], test.labels[9990:], strict=True):
        assert torch.equal(image, pil_to_tensor(Image.open(io.BytesIO(row["img"]["bytes"]))))
        assert row["label"] == label
    assert test.digest == HfParquet(path=str(file)).split("test").digest
    with pytest.raises(DataError, match=r"test-00000-of-00001\.parquet has no train split, only test"):
        HfParquet(path=str(file)).split("train")


def test_shards_are_read_in_order(tmp_path: Path) -> None:
    write(tmp_path / "data" / "train-00001-of-00002.parquet", [2, 3])
    write(tmp_path / "data" / "train-00000-of-00002.parquet", [0, 1])
    write(tmp_path / "data" / "test-00000-of-00001.parquet", [1])
    assert levels(tmp_path, "train") == [0, 1, 2, 3]
    assert levels(tmp_path, "test") == [1]
    assert HfParquet(path=str(tmp_path)).split("test").classes == ("0", "1", "2", "3")


def test_validation_stands_for_test(tmp_path: Path) -> None:
    write(tmp_path / "validation-00000-of-00001.parquet", [5])
    assert levels(tmp_path, "test") == [5]
    write(tmp_path / "test-00000-of-00001.parquet", [6])
    assert levels(tmp_path, "test") == [6]


def test_the_folder_may_say_the_split(tmp_path: Path) -> None:
    write(tmp_path / "train" / "0000.parquet", [1])
    write(tmp_path / "test" / "0000.parquet", [2])
    assert (levels(tmp_path, "train"), levels(tmp_path, "test")) == ([1], [2])


def test_a_file_that_names_no_split_is_the_test(tmp_path: Path) -> None:
    file = write(tmp_path / "train" / "pictures.parquet", [7])
    assert levels(file, "test") == [7]


def test_names_come_from_the_schema(tmp_path: Path) -> None:
    write(tmp_path / "test.parquet", [0, 1], names=["cat", "dog", "elk"])
    assert HfParquet(path=str(tmp_path)).split("test").classes == ("cat", "dog", "elk")


@pytest.mark.parametrize("column", ["label", "labels", "fine_label"])
def test_label_columns(tmp_path: Path, column: str) -> None:
    write(tmp_path / "test.parquet", [0, 1], **{"label": None, column: pa.array([1, 0], pa.uint8())})
    assert HfParquet(path=str(tmp_path)).split("test").labels.tolist() == [1, 0]


def test_plain_bytes_are_read(tmp_path: Path) -> None:
    write(tmp_path / "test.parquet", [3, 4], image=None, img=[png(3), png(4)])
    assert levels(tmp_path, "test") == [3, 4]


def test_sizes_must_agree_unless_size_is_given(tmp_path: Path) -> None:
    write(tmp_path / "test.parquet", [0, 1], image=[png(0), png(1, (5, 5))])
    with pytest.raises(DataError, match=r"test\.parquet row 1 is 5x5 pixels but .* row 0 is 4x3"):
        HfParquet(path=str(tmp_path)).split("test")
    assert HfParquet(path=str(tmp_path), size=2).split("test").shape == (3, 2, 2)


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ({"image": None}, DataError, r"has no column image or img; its columns are label$"),
        ({"label": None}, DataError, r"has no column label or labels or fine_label; its columns are image$"),
        ({"label": [0, None]}, DataError, "the column label must hold an integer in every row"),
        ({"label": ["cat", "dog"]}, DataError, "the column label must hold an integer in every row"),
        ({"label": pa.array(["a", "b"]).dictionary_encode()}, DataError, "must hold an integer in every row"),
        ({"label": [0, -1]}, InputError, r"labels=-1: must be in 0\.\.0"),
        ({"image": [png(0), None]}, DataError, r"test\.parquet row 1 holds no picture in image"),
        ({"image": ["a", "b"]}, DataError, "row 0 holds no picture in image: encoded bytes are needed"),
        ({"image": [png(0), b"broken"]}, DataError, "row 1 cannot be read: it is not a picture"),
        ({"image": [], "label": pa.array([], pa.int64())}, DataError, "the data set is empty"),
    ],
)
def test_bad_columns_are_named(tmp_path: Path, columns: dict, error: type[Exception], message: str) -> None:
    write(tmp_path / "test.parquet", [0, 1], **columns)
    with pytest.raises(error, match=message):
        HfParquet(path=str(tmp_path)).split("test")


def test_damaged_files_are_named(tmp_path: Path) -> None:
    file = write(tmp_path / "test.parquet", list(range(50)))
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"test\.parquet cannot be read: "):
        HfParquet(path=str(file)).split("test")
    with pytest.raises(DataError, match="holds no parquet file"):
        HfParquet(path=str(write(tmp_path / "x" / "a.txt", [0]).parent)).split("test")


def test_metadata_of_another_shape_are_passed_over_or_named(tmp_path: Path) -> None:
    table = pa.table({"image": [png(0)], "label": np.array([0])})
    for text, names in ((b"{}", ("0",)), (b'{"info": {"features": {"label": {"dtype": "int64"}}}}', ("0",))):
        parquet.write_table(table.replace_schema_metadata({"huggingface": text}), tmp_path / "test.parquet")
        assert HfParquet(path=str(tmp_path)).split("test").classes == names
    parquet.write_table(table.replace_schema_metadata({"huggingface": b"[1]"}), tmp_path / "test.parquet")
    with pytest.raises(DataError, match="cannot be read: 'list' object"):
        HfParquet(path=str(tmp_path)).split("test")
