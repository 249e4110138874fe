"""Optimal matching of two equal batches in squared Euclidean distance: the Wasserstein-2 plan is a permutation.

Solved exactly with scipy's assignment solver (Crouse 2016, "On implementing 2D rectangular assignment algorithms").
"""

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Squared Euclidean distances between rows, [n, m] float64, by one matrix product around the common mean."""
    rows, columns = a.flatten(1).to(torch.float64), b.flatten(1).to(torch.float64)
    centre = rows.mean(dim=0)
    rows, columns = rows - centre, columns - centre
    lengths = (rows**2).sum(dim=1)[:, None] + (columns**2).sum(dim=1)
    return (lengths - 2 * rows @ columns.T).clamp_min(0)


def match(cost: Tensor) -> Tensor:
    """The column of each row under the permutation of least total cost, [n] int64.

    Args:
        cost: [n, n].
    """
    _, columns = linear_sum_assignment(cost.cpu().numpy())
    return torch.as_tensor(columns, device=cost.device)


def match_in_blocks(a: Tensor, b: Tensor, k: int, squared: bool = True) -> Tensor:
    """Match rows of a to rows of b within consecutive blocks of k, the last one shorter where k does not divide n.

    Args:
        a: [n, ...].
        b: [n, ...].
        k: rows of a block.
        squared: whether the cost is the squared distance or the distance itself.

    Returns:
        For each row of a its row of b, [n] int64.
    """
    plans = []
    for start in range(0, len(a), k):
        cost = squared_distances(a[start : start + k], b[start : start + k])
        plans.append(start + match(cost if squared else cost.sqrt()))
    return torch.cat(plans)
