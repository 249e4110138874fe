"""A linear model is robust in closed form: where the margin exceeds eps times the dual norm (TRUST R18)."""

import pytest
import torch
from scipy.linalg import hadamard
from torch import nn

from robusteval.attacks import ATTACKS, drive
from robusteval.core.rng import Stream
from robusteval.core.types import Batch

IDS, SHAPE = torch.arange(300), (1, 8, 8)
RANDOM = Stream.seeded(3)
X = 0.4 + 0.2 * RANDOM.uniform(IDS, SHAPE)
"""In the middle of the box, which then does not bind."""


def linear(classes, scale):
    """For more than 2 classes all pairs have one distance, so the nearest boundary is the runner-up's in every norm.

    The scale makes the cross-entropy see the runner-up alone, where it is well ahead of the others; where the label
    leads by more than 16 its share is lost to float32 rounding.
    """
    weight = (
        RANDOM.stream("weight").normal(torch.arange(2), (64,))
        if classes == 2
        else torch.tensor(hadamard(64)[1 : classes + 1], dtype=torch.float32)
    )
    layer = nn.Linear(64, classes).requires_grad_(False)
    layer.weight.copy_(scale * weight)
    layer.bias.copy_(-layer.weight.sum(dim=1) / 2)
    return nn.Sequential(nn.Flatten(), layer).eval()


def room(model, norm):
    """The distance of each image to the nearest boundary, its class, and whether cross-entropy points at the former."""
    logits, weight = model(X).double(), model[1].weight.double()
    y = logits.argmax(dim=1)
    lead = logits.gather(1, y[:, None]) - logits
    dual = (weight[y][:, None] - weight).norm(p=1 if norm == "linf" else 2, dim=2)
    near = lead.sort(dim=1).values
    ahead = near[:, 2] - near[:, 1] > 5 if lead.shape[1] > 2 else torch.ones(len(y), dtype=torch.bool)
    return torch.where(lead > 0, lead / dual, torch.inf).amin(dim=1), y, ahead


@pytest.mark.parametrize("classes", [2, 8])
@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.01), ("linf", 0.003), ("l2", 0.05), ("l2", 0.02)])
@pytest.mark.parametrize("attack", ["fgsm", "pgd", "pgd(random_start=False)", "pgd(steps=50, restarts=2)"])
def test_trust_r18_the_robust_accuracy_is_the_closed_form(attack, norm, eps, classes):
    model = linear(classes, 1.0 if classes == 2 else 16.0)
    distance, y, ahead = room(model, norm)
    spec = attack.rstrip(")") + (", " if "(" in attack else "(") + f"eps={eps}, norm='{norm}')"
    outcome = drive(ATTACKS.parse(spec), model, Batch(X, y, IDS), RANDOM)
    # From a random start of the L2 ball 20 steps end up to 15 degrees beside the pole.
    rounding = 0.04 if norm == "l2" and "random" not in attack and "pgd" in attack else 1e-3
    clear = ((distance - eps).abs() > rounding * eps) & ahead
    assert clear.float().mean() > (0.95 if classes == 2 else 0.1)
    assert torch.equal(outcome.broken[clear], (distance < eps)[clear])
    assert (distance[outcome.broken] < eps * (1 + 1e-4)).all()
    assert 0.02 < outcome.broken[clear].float().mean() < 0.98
