import pytest
import torch
from torch import nn

from robusteval.core.errors import InputError
from robusteval.probes.gradients import Gradients, cosine
from robusteval.probes.linearity import Linearity

X = 0.2 + 0.6 * torch.rand(40, 1, 1, 2, generator=torch.Generator().manual_seed(0))
SLOPE = torch.tensor([1.0, -2.0])
CURVED = torch.tensor([[2.0, 0.7], [0.7, 1.0]])


def columns(probe, subject, rng):
    (measurement,) = probe.measure(subject, rng)
    return {name: torch.tensor(values.to_numpy()) for name, values in measurement.frame.items()}


def test_a_loss_linear_in_the_image_has_one_gradient(subject, energy, rng):
    found = columns(Gradients(eps=0.1, h=0.2), subject(energy(lambda x: 3 + x @ SLOPE), X), rng)
    expected = torch.tensor(5.0**0.5, dtype=torch.float64).expand(40)
    torch.testing.assert_close(found["gradient_norm"], expected, rtol=1e-4, atol=0)
    torch.testing.assert_close(found["gradient_l1"], torch.full((40,), 3.0, dtype=torch.float64), rtol=1e-4, atol=0)
    assert found["gamma_random"].max() < 1e-5
    assert (1 - found["alignment"]).max() < 1e-6
    assert found["curvature"].max() < 1e-3


def test_a_quadratic_loss_has_the_known_curvature(subject, energy, rng):
    """For l = 3 + x'Ax the gradient is 2Ax, so the difference along z is 2Az at any step."""
    found = columns(Gradients(eps=0.05, h=0.2), subject(energy(lambda x: 3 + (x @ CURVED * x).sum(dim=1)), X), rng)
    z = (2 * X.flatten(1) @ CURVED).sign() / 2**0.5
    torch.testing.assert_close(found["curvature"], (2 * z @ CURVED).norm(dim=1).double(), rtol=1e-3, atol=0)


def test_the_mean_error_at_random_points_has_the_known_expectation(subject, energy, rng):
    """For l = 3 + c |x|^2 the error at d is c |d|^2, of mean c * 2 * eps^2 / 3 over the box."""
    probe = Gradients(eps=0.1, draws=64)
    found = columns(probe, subject(energy(lambda x: 3 + 5 * (x * x).sum(dim=1)), X), rng)
    assert found["gamma_random"].mean() == pytest.approx(5 * 2 * 0.01 / 3, rel=0.05)


def test_random_points_never_beat_the_search(subject, rng):
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 32), nn.Tanh(), nn.Linear(32, 5))
    one = subject(network, torch.rand(20, 3, 4, 4), torch.arange(20) % 5)
    largest = columns(Linearity(eps=0.1), one, rng)["gamma"]
    assert (columns(Gradients(eps=0.1), one, rng)["gamma_random"] <= largest + 1e-6).all()


def test_a_gradient_that_turns_is_not_aligned(subject, energy, rng):
    wavy, straight = (energy(lambda x, f=f: 3 + torch.sin(f * x).sum(dim=1)) for f in (60.0, 0.1))
    probe = Gradients(eps=0.1, draws=8)
    turned, kept = (columns(probe, subject(model, X), rng)["alignment"] for model in (wavy, straight))
    assert turned.abs().mean() < 0.5
    assert kept.min() > 0.99


def test_the_cosine_of_gradients_that_vanish_is_stated():
    a, b = torch.zeros(3, 2, dtype=torch.float64), torch.zeros(3, 2, dtype=torch.float64)
    a[1:, 0], b[2] = torch.tensor([1.0, 1e-30]), 1.0
    torch.testing.assert_close(cosine(a, b), torch.tensor([1.0, 0.0, 0.5**0.5], dtype=torch.float64))


def test_it_counts_its_passes(subject, energy, rng):
    (measurement,) = Gradients(draws=3).measure(subject(energy(lambda x: 3 + x @ SLOPE), X), rng)
    assert (measurement.facts.forwards, measurement.facts.backwards) == (200, 200)


@pytest.mark.parametrize("wrong", [{"eps": 0.0}, {"eps": 8.0}, {"draws": 0}, {"h": 0.0}])
def test_a_wrong_parameter_is_answered_with_the_rule(wrong):
    with pytest.raises(InputError, match=f"{next(iter(wrong))}=.*must be"):
        Gradients(**wrong)


ROOTED = nn.Sequential(nn.Flatten(), nn.Linear(2, 3))
"""What follows a root: NaN below 0, and an infinite slope at 0."""


class Rooted(nn.Module):
    def forward(self, x):
        return ROOTED(x.sqrt())


@pytest.mark.parametrize("probe", [Linearity(eps=0.1), Gradients(eps=0.1)])
def test_a_loss_that_is_no_number_is_not_passed_over(probe, subject, rng):
    black = torch.zeros(20, 1, 1, 2)
    with pytest.raises(InputError, match="logits: must be finite"):
        columns(probe, subject(Rooted(), black, torch.arange(20) % 3), rng)


def test_gradients_that_are_no_numbers_raise_their_flag(subject, rng):
    class Rounded(nn.Module):
        def forward(self, x):
            return ROOTED((x * x).sqrt())

    (found,) = Gradients(eps=0.1).measure(subject(Rounded(), torch.zeros(20, 1, 1, 2), torch.arange(20) % 3), rng)
    assert found.facts.signs["nan-gradients"][0] >= 20
    (plain,) = Gradients(eps=0.1).measure(subject(ROOTED, X, torch.arange(40) % 3), rng)
    assert plain.facts.signs == {}
