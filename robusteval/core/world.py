"""The processes of one training: one alone, or those that torchrun has started."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

import torch
from torch import distributed

from robusteval.core.errors import require

T = TypeVar("T")


class World(NamedTuple):
    """This process's number, and how many there are."""

    rank: int = 0
    size: int = 1


def world() -> World:
    """The world as it stands: alone unless `joined`."""
    if distributed.is_available() and distributed.is_initialized():
        return World(distributed.get_rank(), distributed.get_world_size())
    return World()


def agreed(value: T) -> T:
    """The first process's value, in every process; all of them must call this."""
    if world().size == 1:
        return value
    box = [value]
    distributed.broadcast_object_list(box, src=0)
    return box[0]


@contextmanager
def joined(device: str) -> Iterator[None]:
    """Join torchrun's other processes where it started this one; each has a GPU of its own where the device is cuda.

    Raises:
        InputError: there are more processes than GPUs.
    """
    if not (distributed.is_available() and distributed.is_torchelastic_launched()):
        yield
        return
    if device == "cuda":
        place, found = distributed.get_node_local_rank(0), torch.cuda.device_count()
        require(place < found, "nproc-per-node", f"must be at most the {found} GPUs of this machine", place + 1)
        torch.cuda.set_device(place)
    distributed.init_process_group("nccl" if device == "cuda" else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()
