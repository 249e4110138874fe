from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, RandomSampler, SequentialSampler, TensorDataset

from robusteval.core.errors import DataError, InputError
from robusteval.data.memory import from_loader, from_pair

X = torch.rand(10, 3, 4, 5, generator=torch.Generator().manual_seed(0))
Y = torch.arange(10) % 3
DATA = TensorDataset(X, Y)


def test_tensors_are_taken_without_a_copy() -> None:
    split = from_pair(X, Y)
    assert split.images.data_ptr() == X.data_ptr()
    assert split.labels.tolist() == Y.tolist()
    assert split.ids.tolist() == list(range(10))


def test_bytes_stay_bytes() -> None:
    images = (X * 255).to(torch.uint8)
    assert torch.equal(from_pair(images, Y).images, images)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_arrays_of_any_float_become_float32(dtype: type) -> None:
    split = from_pair(X.numpy().astype(dtype), Y.numpy().astype(np.uint8))
    assert split.images.dtype == torch.float32
    assert torch.allclose(split.images, X, atol=1e-3)


def test_read_only_and_reversed_arrays_do_not_warn() -> None:
    images = X.numpy().copy()[::-1]
    images.flags.writeable = False
    assert torch.equal(from_pair(images, Y.numpy()[::-1]).images, X.flip(0))


def test_channels_may_come_last_or_not_at_all() -> None:
    assert torch.equal(from_pair(X.permute(0, 2, 3, 1).numpy(), Y).images, X)
    assert torch.equal(from_pair(X[:, 0], Y).images, X[:, :1])


def test_gradients_are_left_behind() -> None:
    assert not from_pair(X.clone().requires_grad_(), Y).images.requires_grad


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        (X * 255, Y, InputError, r"must be finite and in \[0, 1\]; divide by 255"),
        (X.int(), Y, InputError, "images='torch.int32': must be uint8 or floats"),
        (X, Y[:5], InputError, r"labels=\(5,\): must have shape \[10\]"),
        (X, Y.float(), InputError, "labels='torch.float32': must be integers"),
        (X, np.array(["a"] * 10), InputError, "labels='<U1': must be an array of numbers"),
        (X[:0], Y[:0], DataError, "the data set is empty"),
    ],
)
def test_a_bad_pair_is_an_error(x: Any, y: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        from_pair(x, y)


@pytest.mark.parametrize(
    "loader",
    [
        DataLoader(DATA, batch_size=3),
        DataLoader(DATA, batch_sampler=BatchSampler(SequentialSampler(DATA), 4, drop_last=False)),
    ],
    ids=["batches", "batch sampler"],
)
def test_a_loader_in_order_is_read_whole(loader: DataLoader[Any]) -> None:
    assert from_loader(loader).digest == from_pair(X, Y).digest


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(DATA)


class Backwards(SequentialSampler):
    def __iter__(self) -> Any:
        return reversed(range(10))


@pytest.mark.parametrize(
    ("loader", "name"),
    [
        (DataLoader(DATA, shuffle=True), "RandomSampler"),
        (DataLoader(DATA, sampler=Backwards(DATA)), "Backwards"),
        (DataLoader(DATA, sampler=list(range(10))), "list"),
        (DataLoader(DATA, batch_sampler=BatchSampler(RandomSampler(DATA), 4, drop_last=False)), "RandomSampler"),
        (DataLoader(DATA, batch_sampler=[[1, 0]]), "list"),
        (DataLoader(Stream()), "_InfiniteConstantSampler"),
    ],
)
def test_a_loader_in_another_order_is_refused(loader: DataLoader[Any], name: str) -> None:
    with pytest.raises(InputError, match=f"^loader='{name}': must go through its data set in order"):
        from_loader(loader)


def test_an_empty_loader_is_an_error() -> None:
    with pytest.raises(DataError, match="the loader is empty"):
        from_loader(DataLoader(TensorDataset(X[:0], Y[:0])))


def test_a_loader_of_single_samples_or_of_many_shapes_is_refused() -> None:
    with pytest.raises(InputError, match="every batch must be a pair of tensors"):
        from_loader(DataLoader(DATA, batch_size=None))
    with pytest.raises(InputError, match=r"loader=\[\(3, 4, 4\), \(3, 4, 5\)\]: all images must have one shape"):
        from_loader(DataLoader([(X[0], 0), (X[1, :, :, :4], 1)]))


@pytest.mark.parametrize("data", [TensorDataset(X), TensorDataset(X, Y, Y), [{"x": 1, "y": 2}]])
def test_batches_must_be_pairs(data: Any) -> None:
    with pytest.raises(InputError, match="loader: every batch must be a pair of tensors"):
        from_loader(DataLoader(data))
