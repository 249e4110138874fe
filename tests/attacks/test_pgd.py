import pytest
import torch
from torch import nn

from robusteval.attacks import ATTACKS, drive
from robusteval.attacks.losses import LOSSES
from robusteval.attacks.oracle import Oracle
from robusteval.attacks.pgd import Pgd
from robusteval.core.rng import Stream
from robusteval.core.types import Batch

RANDOM, IDS, SHAPE = Stream.seeded(6), torch.arange(64), (3, 6, 6)
X = RANDOM.uniform(IDS, SHAPE)


def network(classes=5):
    layer = nn.Linear(108, classes).requires_grad_(False)
    layer.weight.copy_(RANDOM.stream("weight").normal(torch.arange(classes), (108,)))
    layer.bias.copy_(-layer.weight.sum(dim=1) / 2)
    return nn.Sequential(nn.Flatten(), layer).eval()


def test_what_is_left_out_is_as_it_was():
    assert ATTACKS.parse("pgd(eps=8/255, loss='ce')").spec == "pgd(eps=8/255)"
    assert ATTACKS.parse("pgd(eps=8/255, loss='dlr')").spec == "pgd(eps=8/255, loss='dlr')"


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_breaks_what_the_others_break_but_a_few(loss, norm):
    model, eps = network(), {"linf": 0.01, "l2": 0.08, "l1": 0.3}[norm]
    data = Batch(X, model(X).argmax(dim=1), IDS)
    expected, found = (drive(Pgd(eps, norm, loss=name), model, data, RANDOM).broken for name in ("ce", loss))
    assert 10 < int(found.sum()) < 60
    assert int((found != expected).sum()) <= 2


def test_a_step_in_l1_passes_over_what_is_at_the_end_of_the_box():
    """One pixel in a hundred moves: of these, the steepest that still can."""
    steep = torch.zeros(1, 1, 10, 20)
    steep[0, 0, 0, :6] = torch.tensor([9.0, -8.0, 7.0, -6.0, 5.0, 4.0])
    x = torch.full((2, 1, 10, 20), 0.5)
    x[1, 0, 0, :6] = torch.tensor([1.0, 0.0, 0.0, 1.0, 0.5, 1.0])

    class Two(nn.Module):
        def forward(self, x):
            return torch.stack([-(x * steep).sum(dim=(1, 2, 3)), torch.zeros(len(x))], dim=1)

    labels = torch.zeros(2, dtype=torch.int64)
    attack = Pgd(1.0, "l1", step=0.2, random_start=False)
    state = attack.start(Oracle(Two()), attack.fresh(Batch(x, labels, labels)), RANDOM)
    moved = (attack.advance(Oracle(Two()), state, RANDOM).x - x)[:, 0, 0, :6]
    torch.testing.assert_close(moved[0], torch.tensor([0.1, -0.1, 0, 0, 0, 0]))
    torch.testing.assert_close(moved[1], torch.tensor([0, 0, 0.1, -0.1, 0, 0]))
