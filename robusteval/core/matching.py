"""Optimal matching of two batches in squared Euclidean distance.

Between equal batches of equal weights the Wasserstein-2 plan is a permutation, found exactly by scipy's assignment
solver (Crouse 2016, "On implementing 2D rectangular assignment algorithms"); other weights need POT's network simplex
(Bonneel et al. 2011, "Displacement interpolation using Lagrangian mass transport").
"""

import math

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from robusteval.core.errors import require


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


def transport(cost: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The plan of least total cost between weighted points, [n, m] float64 on the device of `cost`.

    Args:
        cost: [n, m].
        rows: weights of the rows, [n], not negative; the plan's rows sum to them.
        columns: weights of the columns, [m], of the same sum.

    Raises:
        InputError: the weights are negative, or their sums differ.
    """
    import ot

    source, target, costs = (tensor.to("cpu", torch.float64).numpy() for tensor in (rows, columns, cost))
    smallest, sums = float(min(source.min(), target.min())), (float(source.sum()), float(target.sum()))
    require(smallest >= 0, "weights", "must not be negative", smallest)
    fits = sums[0] > 0 and math.isclose(*sums, rel_tol=1e-6)
    require(fits, "weights", "of rows and columns must have the same sum, above 0", sums)
    plan = ot.emd(source, target * (sums[0] / sums[1]), costs)
    return torch.as_tensor(plan, device=cost.device)


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
