import pytest
import torch
from torch import nn

from robusteval.core.errors import InputError
from robusteval.probes.lipschitz import Lipschitz

X = 0.2 + 0.6 * torch.rand(30, 3, 4, 4, generator=torch.Generator().manual_seed(0))


def seeded(*layers):
    """A network with the same weights whenever it is asked for; layers are given as calls."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), *(layer() for layer in layers))


def columns(probe, subject, rng):
    (measurement,) = probe.measure(subject, rng)
    return {name: torch.tensor(values.to_numpy()) for name, values in measurement.frame.items()}


@pytest.mark.parametrize("eps", [0.02, 0.1])
def test_one_logit_linear_in_the_image_has_the_known_constant(subject, rng, eps):
    """|w.d| is at most |w|_1 times |d|_inf, reached at a corner."""
    network = seeded(lambda: nn.Linear(48, 1))
    found = columns(Lipschitz(eps=eps), subject(network, X), rng)
    expected = network[1].weight.detach().abs().sum().double()
    torch.testing.assert_close(found["lipschitz"], expected.expand(30), rtol=1e-4, atol=0)
    assert (found["lipschitz_random"] < 0.9 * expected).all()


def test_several_logits_have_at_most_the_norm_of_the_matrix(subject, rng):
    network = seeded(lambda: nn.Linear(48, 3))
    found = columns(Lipschitz(eps=0.1, steps=20), subject(network, X), rng)["lipschitz"]
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)
    largest = (signs @ network[1].weight.detach()).abs().sum(dim=1).max()
    assert (found <= largest * (1 + 1e-4)).all()
    # Each way the signs can fall is a local maximum; the search ends in one of the four.
    ends = (signs @ network[1].weight.detach()).abs().sum(dim=1).double()
    assert ((found[:, None] / ends - 1).abs().amin(dim=1) < 1e-3).all()
    assert found.median() >= ends.median() * (1 - 1e-3)


def test_the_search_never_ends_below_its_start(subject, rng):
    network = seeded(lambda: nn.Linear(48, 16), nn.Tanh, lambda: nn.Linear(16, 5))
    one = subject(network, X.round())
    for output in ("logits", "probabilities"):
        found = columns(Lipschitz(eps=0.1, output=output), one, rng)
        assert (found["lipschitz"] >= found["lipschitz_random"]).all()
        assert (found["lipschitz_random"] > 0).all()


def test_a_constant_output_has_constant_0(subject, rng):
    class Constant(nn.Module):
        def forward(self, x):
            return x.new_zeros(len(x), 4)

    found = columns(Lipschitz(), subject(Constant(), X), rng)
    assert found["lipschitz"].abs().max() == 0


def test_it_counts_its_passes(subject, rng):
    (measurement,) = Lipschitz(steps=10).measure(subject(nn.Sequential(nn.Flatten(), nn.Linear(48, 3)), X), rng)
    assert (measurement.facts.forwards, measurement.facts.backwards) == (30 * (1 + 11 + 3), 30 * 11)


@pytest.mark.parametrize("wrong", [{"eps": 0.0}, {"eps": 8.0}, {"steps": 0}])
def test_a_wrong_parameter_is_answered_with_the_rule(wrong):
    with pytest.raises(InputError, match=f"{next(iter(wrong))}=.*must be"):
        Lipschitz(**wrong)
