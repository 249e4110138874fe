import pytest
import torch
from torch import nn
from torch.nn import functional

from robusteval.attacks.losses import cross_entropy, margin
from robusteval.attacks.oracle import Oracle, padded, predict, steady

X = torch.rand(40, 3, 8, 8, generator=torch.Generator().manual_seed(0))
Y = torch.arange(40) % 5


class Sizes(nn.Module):
    """A linear model that notes the rows of every pass."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(192, 5)
        self.rows = []

    def forward(self, x):
        self.rows.append(len(x))
        return self.linear(x.flatten(1))


class Moody(Sizes):
    """Rounds otherwise at every size of a pass."""

    def forward(self, x):
        return super().forward(x) * (1 + 1e-6 * len(x))


@pytest.mark.parametrize(
    ("rows", "fixed", "passed"),
    [(1, None, 32), (32, None, 32), (33, None, 48), (48, None, 48), (49, None, 64), (7, 64, 64), (64, 64, 64)],
)
def test_a_pass_has_few_shapes(rows, fixed, passed):
    x = padded(X.repeat(2, 1, 1, 1)[:rows], fixed)
    assert len(x) == passed
    assert torch.equal(x[:rows], X.repeat(2, 1, 1, 1)[:rows])
    assert not x[rows:].any()


@pytest.mark.parametrize("fixed", [None, 64])
def test_padding_is_neither_counted_nor_seen(fixed):
    oracle = Oracle(Sizes(), fixed)
    answer, logits = oracle.gradient(X[:5], Y[:5]), oracle.logits(X)
    assert (oracle.forwards, oracle.backwards) == (45, 5)
    assert answer.gradient.shape == (5, 3, 8, 8)
    assert logits.shape == (40, 5)
    assert oracle.model.rows == ([64, 64] if fixed else [32, 48])
    assert not answer.logits.requires_grad


@pytest.mark.parametrize("loss", [cross_entropy, margin])
def test_a_gradient_is_the_samples_own(loss):
    model = Sizes()
    answer = Oracle(model).gradient(X, Y, loss)
    x = X[3:4].clone().requires_grad_(True)
    (expected,) = torch.autograd.grad(loss(model(x), Y[3:4]).sum(), x)
    torch.testing.assert_close(answer.gradient[3:4], expected)
    assert answer.gradient.is_contiguous()
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not X.requires_grad


def test_a_strided_gradient_comes_back_contiguous():
    """`view` on such a gradient is the crash of option-A shortcuts elsewhere."""

    class Subsampled(nn.Module):
        def forward(self, x):
            return x[:, :, ::2, ::2].transpose(1, 3).flatten(1)[:, :5]

    assert Oracle(Subsampled()).gradient(X, Y).gradient.view(40, -1).shape == (40, 192)


def test_where_the_graph_is_cut_the_gradient_is_zero():
    class Cut(nn.Module):
        def forward(self, x):
            return x.detach().flatten(1)

    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.bias = nn.Parameter(torch.ones(5))

        def forward(self, x):
            return self.bias.expand(len(x), 5)

    for model in (Cut(), Constant()):
        assert not Oracle(model).gradient(X, Y).gradient.any()


def test_the_margin_is_the_labels_lead():
    logits = torch.tensor([[3.0, 1.0, 2.0], [3.0, 1.0, 2.0]])
    assert margin(logits, torch.tensor([0, 1])).tolist() == [1.0, -2.0]


def test_a_prediction_does_not_depend_on_the_batch_size():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 5)).eval()
    expected = predict(model, X, 64)
    assert all(torch.equal(predict(model, X, size), expected) for size in (1, 7, 32, 40))


@pytest.mark.parametrize("size", [1, 48, 128])
def test_a_conv_net_is_steady(size):
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 8, 3, 2), nn.Flatten(), nn.Linear(72, 5)
    )
    assert steady(network.eval(), X, size)
    assert steady(network.eval(), X[:3], size)


def test_what_depends_on_the_size_of_a_pass_is_noticed():
    assert not steady(Moody(), X, 64)
    assert steady(Moody(), X, 32)


def test_a_fixed_size_steadies_it():
    model = Moody()
    expected = predict(model, X, 64, 64)
    assert all(torch.equal(predict(model, X, size, 64), expected) for size in (1, 7, 32))
    assert functional.mse_loss(predict(model, X, 7), expected) > 0
