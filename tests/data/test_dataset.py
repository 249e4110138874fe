import pickle

import pytest
import torch

from robusteval.core.errors import DataError, InputError
from robusteval.data import DATA, Augmentation, Split

IMAGES = torch.arange(4 * 3 * 2 * 2, dtype=torch.uint8).reshape(4, 3, 2, 2)
LABELS = torch.tensor([0, 1, 1, 2])


def test_every_data_set_is_found() -> None:
    expected = "cifar10 cifar100 digits fashion-mnist folder hf-parquet npz tiny-imagenet"
    assert set(expected.split()) <= set(DATA.classes)


def test_labels_and_names_are_derived() -> None:
    split = Split.of(IMAGES, LABELS.to(torch.uint8))
    assert split.labels.dtype == torch.int64
    assert split.classes == ("0", "1", "2")
    assert split.ids.tolist() == [0, 1, 2, 3]
    assert (len(split), split.shape) == (4, (3, 2, 2))


@pytest.mark.parametrize(
    ("images", "labels", "extra", "message"),
    [
        (IMAGES[:, 0], LABELS, {}, r"images=\(4, 2, 2\): must have shape \[n, 1 or 3, height, width\]"),
        (IMAGES.reshape(4, 2, 2, 3).repeat(1, 2, 2, 1), LABELS, {}, r"images=\(4, 4, 4, 3\): must have shape"),
        (IMAGES.reshape(4, 6, 2, 1).repeat(1, 1, 3, 3), LABELS, {}, r"images=\(4, 6, 6, 3\): must have shape"),
        (IMAGES.repeat(1, 4, 1, 1), LABELS, {}, r"images=\(4, 12, 2, 2\): .* or \[n, d, 1, 1\]$"),
        (IMAGES.flatten(1), LABELS, {}, r"images=\(4, 12\): must have shape"),
        (IMAGES, LABELS[:3], {}, r"labels=\(3,\): must have shape \[4\]"),
        (IMAGES, LABELS.float(), {}, "labels='torch.float32': must be integers"),
        (IMAGES, LABELS - 1, {}, r"labels=-1: must be in 0\.\.1"),
        (IMAGES, LABELS, {"classes": ("a", "b")}, r"labels=2: must be in 0\.\.1"),
        (IMAGES.float(), LABELS, {}, r"images='\[0, 47\]': must be finite and in \[0, 1\]; divide by 255"),
        (IMAGES / 47 - 1, LABELS, {}, r"images='\[-1, 0\]': must be finite"),
        (IMAGES * torch.nan, LABELS, {}, r"images='\[nan, nan\]': must be finite"),
        (IMAGES, LABELS, {"ids": LABELS[:3]}, r"ids=\(3,\): must have shape \[4\]"),
        (IMAGES, LABELS, {"ids": LABELS}, "ids=1: must be unique"),
    ],
)
def test_bad_input_is_named(images: torch.Tensor, labels: torch.Tensor, extra: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Split.of(images, labels, **extra)


def test_vectors_and_two_views_are_taken() -> None:
    assert Split.of(IMAGES.reshape(4, 12, 1, 1), LABELS).shape == (12, 1, 1)
    assert Split.of(IMAGES[:, :2], LABELS).shape == (2, 2, 2)
    assert Split.of(torch.cat([IMAGES, IMAGES], dim=1).repeat(1, 1, 3, 3), LABELS).shape == (6, 6, 6)


def test_no_image_is_an_error() -> None:
    with pytest.raises(DataError, match="the data set is empty"):
        Split.of(IMAGES[:0], LABELS[:0])


def test_first_keeps_ids_and_order() -> None:
    split = Split.of(IMAGES, LABELS, ids=torch.tensor([9, 5, 7, 1]))
    assert split.first(2).ids.tolist() == [9, 5]
    assert torch.equal(split.first(2).images, IMAGES[:2])
    assert split.first(4) is split
    assert split.first(99) is split
    with pytest.raises(InputError, match="samples=0: must be at least 1"):
        split.first(0)


@pytest.mark.parametrize("n", [1, 10, 37, 100, 999, 1000])
def test_stratified_keeps_the_proportions(n: int) -> None:
    labels = torch.tensor([0] * 700 + [1] * 200 + [2] * 100)[torch.randperm(1000, generator=torch.Generator())]
    split = Split.of(torch.zeros(1000, 1, 1, 1, dtype=torch.uint8), labels)
    part = split.stratified(n, seed=3)
    counts = torch.bincount(part.labels, minlength=3)
    assert len(part) == n
    assert ((counts - torch.tensor([0.7, 0.2, 0.1]) * n).abs() <= 1.5).all()
    assert part.ids.tolist() == sorted(set(part.ids.tolist()))
    assert torch.equal(part.ids, split.stratified(n, seed=3).ids)


def test_stratified_depends_on_the_seed_and_refuses_too_many() -> None:
    split = DATA.parse("digits").split("test")
    assert split.stratified(50, seed=0).digest != split.stratified(50, seed=1).digest
    with pytest.raises(InputError, match=r"samples=360: must be in 1\.\.359"):
        split.stratified(360)


def test_a_batch_is_float_in_the_unit_interval() -> None:
    x, y, ids = Split.of(IMAGES, LABELS).batch(torch.tensor([3, 0]))
    assert x.dtype == torch.float32
    assert torch.equal(x * 255, IMAGES[[3, 0]].float())
    assert (y.tolist(), ids.tolist()) == ([2, 0], [3, 0])


def test_the_digest_covers_images_labels_ids_and_names() -> None:
    digests = {
        Split.of(IMAGES, LABELS).digest,
        Split.of(IMAGES + 1, LABELS).digest,
        Split.of(IMAGES, LABELS.flip(0)).digest,
        Split.of(IMAGES, LABELS, ids=torch.tensor([3, 2, 1, 0])).digest,
        Split.of(IMAGES, LABELS, ("a", "b", "c")).digest,
    }
    assert len(digests) == 5
    assert pickle.loads(pickle.dumps(Split.of(IMAGES, LABELS))).digest in digests


def test_an_unknown_split_is_an_error() -> None:
    with pytest.raises(InputError, match="split='val': must be 'train' or 'test'"):
        DATA.parse("digits").split("val")


@pytest.mark.parametrize("name", ["folder", "npz", "hf-parquet"])
def test_own_data_say_how_they_may_be_augmented(name: str) -> None:
    assert DATA.parse(f"{name}(path='x')").augmentation == Augmentation(0, False)
    spec = f"{name}(path='x', crop=4, flip=True)"
    assert DATA.parse(spec).augmentation == Augmentation(4, True)
    assert DATA.parse(spec).spec == spec
    with pytest.raises(InputError, match="crop=-1: must be at least 0"):
        DATA.parse(f"{name}(path='x', crop=-1)")


@pytest.mark.parametrize("name", ["folder", "npz", "hf-parquet", "tiny-imagenet"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_path_that_is_not_there_is_named(name: str, split: str) -> None:
    with pytest.raises(
        DataError, match=r"^path='/no/such/place': there is no such file or folder(; get it with: curl .*)?$"
    ):
        DATA.parse(f"{name}(path='/no/such/place')").split(split)


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "fashion-mnist"])
def test_a_root_that_is_not_there_is_named(name: str, offline: list[str]) -> None:
    with pytest.raises(DataError, match=r"^root='/no/such/place': there is no such file or folder; .* are downloaded$"):
        DATA.parse(f"{name}(root='/no/such/place')").split("test")
    assert offline == []
