import pytest
import torch
from torch import nn

from robusteval.core.errors import InputError
from robusteval.probes.linearity import Linearity

EPS = 0.1
X = torch.rand(40, 1, 1, 2, generator=torch.Generator().manual_seed(0))
CURVED = torch.tensor([[2.0, 0.7], [0.7, 1.0]])


def gamma(found):
    (measurement,) = found
    return torch.tensor(measurement.frame["gamma"].to_numpy())


def curved(x):
    return 3 + (x @ CURVED * x).sum(dim=1)


def test_a_loss_linear_in_the_image_has_gamma_0(subject, energy, rng):
    straight = energy(lambda x: 3 + x @ torch.tensor([1.0, -2.0]))
    assert gamma(Linearity(eps=EPS).measure(subject(straight, X), rng)).max() < 1e-5


@pytest.mark.parametrize("eps", [0.05, 0.1, 0.2])
def test_a_quadratic_loss_has_the_known_gamma(subject, energy, rng, eps):
    """For l = x'Ax it is the maximum of |d'Ad| over the box, at a corner, whatever x is."""
    line = torch.linspace(-eps, eps, 401, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)
    largest = (grid @ CURVED.double() * grid).sum(dim=1).abs().max()
    found = gamma(Linearity(eps=eps, steps=20, restarts=3).measure(subject(energy(curved), X), rng))
    assert found.max() <= largest + 1e-5
    torch.testing.assert_close(found, largest.expand(40), rtol=0.02, atol=1e-5)


def test_gamma_is_at_least_what_random_points_give(subject, rng):
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 32), nn.Tanh(), nn.Linear(32, 5))
    x, y = torch.rand(20, 3, 4, 4), torch.arange(20) % 5
    found = gamma(Linearity(eps=EPS).measure(subject(network, x, y), rng))
    images = x.clone().requires_grad_(True)
    loss = nn.functional.cross_entropy(network(images), y, reduction="none")
    (slope,) = torch.autograd.grad(loss.sum(), images)
    for _ in range(30):
        delta = EPS * (2 * torch.rand_like(x) - 1)
        there = nn.functional.cross_entropy(network(x + delta), y, reduction="none")
        assert ((there - loss - (delta * slope).flatten(1).sum(dim=1)).abs() <= found + 1e-6).all()


def test_more_steps_restarts_or_room_never_make_it_smaller(subject, energy, rng):
    one = subject(energy(curved), X)
    base, wider, again = (
        gamma(probe.measure(one, rng))
        for probe in (Linearity(eps=EPS), Linearity(eps=2 * EPS), Linearity(eps=EPS, restarts=3))
    )
    assert (base <= again + 1e-6).all()
    assert (base <= wider + 1e-6).all()


def test_it_counts_its_passes(subject, energy, rng):
    """Per image and start 11 points, and the tangent; then the judge's value at both ends, with one gradient."""
    (measurement,) = Linearity(eps=EPS, steps=10, restarts=2).measure(subject(energy(curved), X), rng)
    assert (measurement.facts.forwards, measurement.facts.backwards) == (40 * (1 + 22 + 2), 40 * (1 + 22 + 1))


@pytest.mark.parametrize("wrong", [{"eps": 0.0}, {"eps": 8.0}, {"steps": 0}, {"restarts": 0}])
def test_a_wrong_parameter_is_answered_with_the_rule(wrong):
    with pytest.raises(InputError, match=f"{next(iter(wrong))}=.*must be"):
        Linearity(**wrong)
