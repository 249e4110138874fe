"""What float32 means on a GPU, and what is coarser."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

Precision = Literal["float32", "tf32", "bf16"]


@contextmanager
def full_float32() -> Iterator[None]:
    """As long as this lasts, float32 is not worked in TF32, which is cuDNN's default (TRUST R6)."""
    with tf32(False):
        yield


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """As long as this lasts, convolutions and products of float32 may be worked in TF32 on a CUDA device, or not."""
    backends = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [backend.allow_tf32 for backend in backends]
    try:
        _allow(backends, [allowed, allowed])
        yield
    finally:
        _allow(backends, before)


def _allow(backends: tuple[object, ...], values: list[bool]) -> None:
    for backend, value in zip(backends, values, strict=True):
        if backend.allow_tf32 is not value:  # type: ignore[attr-defined]
            backend.allow_tf32 = value  # type: ignore[attr-defined]
