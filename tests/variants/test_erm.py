import torch
from torch import nn
from torch.nn import functional

from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.variants import VARIANTS


def test_erm_is_the_cross_entropy():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(6, 1, 4, 4, generator=generator), torch.tensor([0, 1, 2, 2, 1, 0])
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    loss = VARIANTS.parse("erm").loss(model, Batch(x, y, torch.arange(6)), 3, Stream.seeded(0))
    assert torch.equal(loss, functional.cross_entropy(model(x), y))
