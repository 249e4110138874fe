"""The processes of one training: one alone, or those that torchrun has started."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import distributed


class World(NamedTuple):
    """This process's number, and how many there are."""

    rank: int = 0
    size: int = 1


def world() -> World:
    """The world as it stands: alone unless `joined`."""
    if distributed.is_available() and distributed.is_initialized():
        return World(distributed.get_rank(), distributed.get_world_size())
    return World()


@contextmanager
def joined(device: str) -> Iterator[str]:
    """Join torchrun's other processes where it started this one; gives the device of this process."""
    if not (distributed.is_available() and distributed.is_torchelastic_launched()):
        yield device
        return
    distributed.init_process_group("nccl" if device == "cuda" else "gloo")
    try:
        if device == "cuda":
            torch.cuda.set_device(distributed.get_node_local_rank(0))
        yield device
    finally:
        distributed.destroy_process_group()
