import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from robusteval.core.errors import InputError
from robusteval.core.rng import Stream
from robusteval.models.hessian import LossSurface, length, top_eigenvalues, trace_forms

RNG = Stream.seeded(0)
X = torch.rand(24, 1, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
Y = torch.arange(24) % 3


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def network(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Tanh(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3)]
        return nn.Sequential(*layers).double().eval()


def full(model, rows=slice(None)):
    """The Hessian of the mean loss by torch.autograd, [p, p]."""
    names, weights = zip(*((name, weight.detach()) for name, weight in model.named_parameters()), strict=True)

    def loss(flat):
        parts = flat.split([weight.numel() for weight in weights])
        state = {name: part.view_as(weight) for name, part, weight in zip(names, parts, weights, strict=True)}
        return functional.cross_entropy(functional_call(model, state, (X[rows],)), Y[rows])

    return torch.autograd.functional.hessian(loss, torch.cat([weight.flatten() for weight in weights]))


def flat(vector):
    return torch.cat([part.flatten() for part in vector])


def like(model, seed):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(w.shape, dtype=w.dtype, generator=generator) for w in model.parameters())


@pytest.mark.parametrize("rows", [5, 24, 128])
def test_products_are_those_with_the_full_hessian(rows):
    model = network()
    vector = like(model, 1)
    found = flat(LossSurface.of(model, X, Y, rows).product(vector))
    torch.testing.assert_close(found, full(model) @ flat(vector), rtol=1e-9, atol=1e-12)


def test_the_gradient_is_autograds():
    model = network()
    loss = functional.cross_entropy(model(X), Y)
    expected = torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(model.parameters()))])
    torch.testing.assert_close(flat(LossSurface.of(model, X, Y, 7).gradient()), expected)


def test_top_eigenvalues_are_those_of_the_full_hessian():
    model = network()
    expected = torch.linalg.eigvalsh(full(model)).flip(0)
    found = top_eigenvalues(LossSurface.of(model, X, Y), RNG, 3, iterations=2000, tolerance=1e-13)
    torch.testing.assert_close(torch.tensor(found.values, dtype=torch.float64), expected[:3], rtol=1e-6, atol=0)
    for value, vector in zip(found.values, found.vectors, strict=True):
        assert length(vector) == pytest.approx(1)
        torch.testing.assert_close(full(model) @ flat(vector), value * flat(vector), rtol=0, atol=1e-4 * value)


class Saddle(nn.Module):
    """Cross-entropy -log sigmoid(z) at z = b^2 - 4 a^2 in the parameters (a, b), bending down most along a, near 0."""

    def __init__(self, up):
        super().__init__()
        self.point = nn.Parameter(torch.tensor([0.0, 0.0], dtype=torch.float64))
        self.up = up

    def forward(self, x):
        a, b = self.point
        z = self.up * (a**2 - 4 * b**2)
        return torch.stack([z * torch.ones(len(x), dtype=torch.float64), torch.zeros(len(x), dtype=torch.float64)], 1)


@pytest.mark.parametrize("up", [1.0, -1.0])
def test_the_top_is_the_largest_value_and_not_the_largest_size(up):
    """The loss is -z/2 to second order: eigenvalues -up and 4 up."""
    surface = LossSurface.of(Saddle(up), X[:4], torch.zeros(4, dtype=torch.int64))
    found = top_eigenvalues(surface, RNG, iterations=500, tolerance=1e-12)
    assert found.values[0] == pytest.approx(max(-up, 4 * up), rel=1e-6)


def test_forms_are_those_of_each_samples_own_hessian():
    model = network()
    vector = like(model, 2)
    found = LossSurface.of(model, X, Y, 7).forms(vector)
    expected = [flat(vector) @ full(model, slice(row, row + 1)) @ flat(vector) for row in range(24)]
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-8, atol=1e-10)


def test_the_estimate_of_the_trace_goes_to_the_trace():
    model = network()
    hessian = full(model)
    draws = 400
    found = trace_forms(LossSurface.of(model, X, Y), RNG, draws)
    # The variance of z'Hz for random signs is twice the sum of squares off the diagonal.
    error = (2 * (hessian - hessian.diag().diag()).square().sum() / draws).sqrt()
    assert abs(found.mean() - hessian.trace()) < 3 * error
    assert error < 0.2 * hessian.trace().abs()


def test_a_model_linear_in_its_parameters_has_the_gauss_newton_hessian():
    """For z = Wx the Hessian is (diag p - pp') x xx', whose trace is (1 - |p|^2) |x|^2."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3, bias=False)).double()
    chance = model(X).softmax(dim=1).detach()
    expected = (1 - chance.square().sum(dim=1)) * X.flatten(1).square().sum(dim=1)
    hessian = full(model)
    assert expected.mean() == pytest.approx(float(hessian.trace()))
    found = trace_forms(LossSurface.of(model, X, Y), RNG, 3000)
    torch.testing.assert_close(found, expected, rtol=0.1, atol=0)


def test_the_model_stays_as_it_is_and_the_seed_decides():
    model = network().train()
    before = [tensor.clone() for tensor in model.state_dict().values()]
    surface = LossSurface.of(model, X, Y)
    one, again, other = (top_eigenvalues(surface, rng, iterations=5) for rng in (RNG, RNG, RNG.stream("b")))
    assert one.values == again.values != other.values
    assert model.training
    assert all(map(torch.equal, before, model.state_dict().values()))
    assert all(weight.grad is None for weight in model.parameters())


def test_a_loss_that_does_not_bend_has_curvature_0():
    class Still(nn.Module):
        def __init__(self):
            super().__init__()
            self.unused = nn.Parameter(torch.ones(3))

        def forward(self, x):
            return x.flatten(1)[:, :3] + 0 * self.unused

    surface = LossSurface.of(Still(), X, Y)
    assert top_eigenvalues(surface, RNG).values == [0.0]
    assert trace_forms(surface, RNG, 2).tolist() == [0.0] * 24


def test_a_model_without_parameters_is_answered_with_the_rule():
    with pytest.raises(InputError, match="must have parameters"):
        LossSurface.of(nn.Flatten(), X, Y)
