import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from robusteval.core.errors import InputError
from robusteval.probes.sharpness import Sharpness

X = torch.rand(30, 1, 4, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(30) % 3


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.Tanh(), nn.Linear(4, 3)).eval()


def measured(probe, one, rng):
    (measurement,) = probe.measure(one, rng)
    return measurement


def full(model):
    names, weights = zip(*((name, weight.detach()) for name, weight in model.named_parameters()), strict=True)

    def loss(flat):
        parts = flat.split([weight.numel() for weight in weights])
        state = {name: part.view_as(weight) for name, part, weight in zip(names, parts, weights, strict=True)}
        return functional.cross_entropy(functional_call(model, state, (X,)), Y)

    return torch.autograd.functional.hessian(loss, torch.cat([weight.flatten() for weight in weights]))


def test_means_are_the_eigenvalues_of_the_full_hessian(subject, rng):
    model = network()
    expected = torch.linalg.eigvalsh(full(model)).flip(0)
    frame = measured(Sharpness(eigenvalues=2, iterations=1000, tolerance=1e-7), subject(model, X, Y), rng).frame
    assert frame["eigenvalue"].mean() == pytest.approx(expected[0].item(), rel=1e-3)
    assert frame["eigenvalue_2"].mean() == pytest.approx(expected[1].item(), rel=1e-2)


def test_the_trace_has_the_known_expectation(subject, rng):
    model = network()
    hessian = full(model)
    error = (2 * (hessian - hessian.diag().diag()).square().sum() / 100).sqrt()
    frame = measured(Sharpness(iterations=1, draws=100), subject(model, X, Y), rng).frame
    assert abs(frame["trace"].mean() - hessian.trace().item()) < 3 * error.item()


def test_the_step_of_sam_is_along_the_gradient(subject, rng):
    model = network()
    frame = measured(Sharpness(iterations=1, draws=1, rho=0.1), subject(model, X, Y), rng).frame
    other = network()
    functional.cross_entropy(other(X), Y).backward()
    size = torch.stack([weight.grad.norm() for weight in other.parameters()]).norm()
    with torch.no_grad():
        for weight in other.parameters():
            weight.add_(0.1 * weight.grad / size)
        expected = [functional.cross_entropy(net(X), Y, reduction="none") for net in (other, model)]
    found = torch.tensor(frame["sam"].to_numpy())
    torch.testing.assert_close(found, (expected[0] - expected[1]).double(), rtol=1e-3, atol=1e-6)
    assert found.mean() > 0


def test_order_and_batch_size_change_no_bit_and_the_model_stays(subject, rng):
    model, order = network(), torch.randperm(30, generator=torch.Generator().manual_seed(1))
    before = [tensor.clone() for tensor in model.state_dict().values()]
    one = subject(model, X, Y, 64)
    mixed = subject(model, X, Y, 7)
    mixed = type(one)(model, model, type(one.batch)(*(tensor[order] for tensor in one.batch)), ("d", 0), mixed.passes)
    frame, other = (measured(Sharpness(iterations=3, draws=1), each, rng).frame for each in (one, mixed))
    assert other.sort_values("sample", ignore_index=True).equals(frame)
    assert all(map(torch.equal, before, model.state_dict().values()))
    assert all(weight.grad is None for weight in model.parameters())


def test_a_loss_at_rest_has_nowhere_to_step(subject, rng):
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    for weight in model.parameters():
        weight.data.zero_()
    frame = measured(Sharpness(iterations=2, draws=1), subject(model, torch.zeros(30, 1, 4, 4), Y), rng).frame
    assert frame["sam"].abs().max() < 1e-6


@pytest.mark.parametrize("field", ["eigenvalues", "iterations", "draws", "tolerance", "rho"])
def test_a_wrong_parameter_is_answered_with_the_rule(field):
    with pytest.raises(InputError, match=f"{field}=0: must be"):
        Sharpness(**{field: 0})
