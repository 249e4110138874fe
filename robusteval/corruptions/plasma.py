"""Plasma fractals by the diamond-square algorithm (Fournier et al. 1982) on a torus, one per sample."""

import torch
from torch import Tensor

from robusteval.core.rng import Stream


def plasma_fractal(ids: Tensor, size: int, decay: float, rng: Stream) -> Tensor:
    """Random height maps [n, size, size] float64 in [0, 1], each reaching both ends.

    As in the ImageNet-C generators the offset of a point is w * uniform(-w, w), and w shrinks from 100 by `decay` at
    each halving of the grid.

    Args:
        ids: [n] sample ids.
        size: side, a power of two.
        decay: the higher, the smoother.
        rng: numbers for each sample.
    """
    height = torch.zeros(len(ids), size, size, dtype=torch.float64, device=ids.device)
    step, wibble = size, 100.0
    while step >= 2:
        half = step // 2
        corners = height[:, ::step, ::step]
        squares = corners + corners.roll(-1, 1)
        squares = squares + squares.roll(-1, 2)
        centres = _offset(squares, wibble, ids, rng.stream(step, "squares"))
        height[:, half::step, half::step] = centres
        rows = centres + centres.roll(1, 1) + corners + corners.roll(-1, 2)
        columns = centres + centres.roll(1, 2) + corners + corners.roll(-1, 1)
        height[:, ::step, half::step] = _offset(rows, wibble, ids, rng.stream(step, "rows"))
        height[:, half::step, ::step] = _offset(columns, wibble, ids, rng.stream(step, "columns"))
        step, wibble = half, wibble / decay
    height -= height.amin(dim=(1, 2), keepdim=True)
    return height / height.amax(dim=(1, 2), keepdim=True)


def _offset(total: Tensor, wibble: float, ids: Tensor, rng: Stream) -> Tensor:
    uniform = rng.uniform(ids, total.shape[1:], dtype=torch.float64)
    return total / 4 + wibble * wibble * (2 * uniform - 1)
