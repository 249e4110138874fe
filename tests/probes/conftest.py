import pytest
import torch
from torch import nn

from robusteval.attacks import Passes
from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.probes.probe import Subject


class Energy(nn.Module):
    """Two classes whose cross-entropy at class 0 is an energy given as a function of x [n, d], to rounding."""

    def __init__(self, energy):
        super().__init__()
        self.energy = energy

    def forward(self, x):
        # Cross-entropy of class 0 is log(1 + exp(z)) for logits (0, z), and z = log(exp(energy) - 1).
        return nn.functional.pad(self.energy(x.flatten(1)).expm1().log()[:, None], (1, 0))


@pytest.fixture
def subject():
    def of(model, x, y=None, batch_size=64):
        batch = Batch(x, torch.zeros(len(x), dtype=torch.int64) if y is None else y, torch.arange(len(x)))
        return Subject(model, model, batch, ("d", 0), Passes(batch_size))

    return of


@pytest.fixture
def energy():
    return Energy


@pytest.fixture
def rng():
    return Stream.seeded(0)
