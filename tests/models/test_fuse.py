import copy

import pytest
import torch
from torch import nn

from robusteval.models import ARCHITECTURES
from robusteval.models.classifier import Classifier
from robusteval.models.foreign import Exported
from robusteval.models.fuse import evaluation_form

X = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def lived_in(network: nn.Module) -> nn.Module:
    """Give batch norms statistics that matter."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean, module.running_var):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return network


class Undecided(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))

    def forward(self, x):
        x = self.body(x).mean((2, 3))
        return x if x.sum() > 0 else -x


class Shared(nn.Module):
    """One convolution feeds a batch norm and something else; another batch norm is used twice."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.one, self.twice, self.only = nn.BatchNorm2d(3), nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.third = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        x = self.first(x)
        x = x + self.one(x)
        x = self.twice(self.twice(self.second(x)))
        return self.only(self.third(x)).mean((2, 3))


def norms(model):
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())


@pytest.mark.parametrize(
    ("spec", "left"),
    [
        ("small-cnn", 0),
        ("resnet-cifar", 0),
        ("resnet-cifar(depth=8, shortcut='B')", 0),
        ("preact-resnet", 9),
        ("wide-resnet(depth=10, width=2)", 3),
        ("torchvision:resnet18", 0),
        ("torchvision:mobilenet_v3_small", 0),
    ],
)
def test_folding_keeps_the_logits(spec, left):
    network = ARCHITECTURES.parse(spec).initialised(tuple(X.shape[1:]), 10)
    model = Classifier(lived_in(network), (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)).eval()
    form = evaluation_form(model, X)
    assert form.name == "fused"
    assert norms(form.model) == left
    torch.testing.assert_close(form.model(X), model(X), rtol=1e-3, atol=1e-3)
    assert not any(parameter.requires_grad for parameter in form.model.parameters())
    assert not form.model.training


def test_input_gradients_are_the_same():
    model = Classifier(lived_in(ARCHITECTURES.parse("small-cnn").initialised((3, 16, 16), 5))).eval()
    gradients = []
    for net in (model, evaluation_form(model, X).model):
        x = X.clone().requires_grad_()
        gradients += torch.autograd.grad(net(x)[:, 1].sum(), x)
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_the_original_is_not_touched(training):
    model = Classifier(lived_in(ARCHITECTURES.parse("small-cnn").initialised((3, 16, 16), 5))).train(training)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = copy.deepcopy(model)
    evaluation_form(model, X)
    assert all(module.training is training for module in model.modules())
    for (name, now), (_, was) in zip(model.named_parameters(), before.named_parameters(), strict=True):
        assert torch.equal(now, was), name
        assert now.requires_grad
        assert torch.equal(now.grad, torch.ones_like(now))
        assert now.is_contiguous()
    assert all(torch.equal(now, was) for now, was in zip(model.buffers(), before.buffers(), strict=True))


def test_what_cannot_be_traced_stays_plain():
    model = Classifier(Undecided()).eval()
    form = evaluation_form(model, X)
    assert form.name == "plain"
    assert form.model is not model
    assert torch.equal(form.model(X), model(X))
    assert not any(parameter.requires_grad for parameter in form.model.parameters())


def test_only_pairs_that_meet_nobody_else_are_folded():
    model = lived_in(Shared()).eval()
    form = evaluation_form(model, X)
    assert form.name == "fused"
    assert norms(form.model) == 2
    torch.testing.assert_close(form.model(X), model(X))


def test_a_fold_that_changes_logits_is_not_used(monkeypatch):
    monkeypatch.setattr("robusteval.models.fuse.fuse_conv_bn_eval", lambda convolution, norm: convolution)
    assert evaluation_form(lived_in(Shared()).eval(), X).name == "plain"


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_torchscript_and_export_stay_plain():
    network = lived_in(ARCHITECTURES.parse("small-cnn").initialised((3, 16, 16), 5)).eval()
    for whole in (torch.jit.trace(network, X), Exported(torch.export.export(network, (X,)).module())):
        form = evaluation_form(Classifier(whole).eval(), X)
        assert form.name == "plain"
        torch.testing.assert_close(form.model(X), network(X))


class Scaled(torch.autograd.Function):
    """The identity, whose gradient is scaled."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 1e-6


class OwnBackward(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(5))

    def forward(self, x):
        return self.body(Scaled.apply(x))


def test_a_backward_pass_of_ones_own_is_kept():
    model = OwnBackward().eval()
    model(X)
    form = evaluation_form(model, X)
    gradients = []
    for network in (model, form.model):
        x = X.clone().requires_grad_(True)
        gradients.append(torch.autograd.grad(network(x).square().mean(), x)[0])
    torch.testing.assert_close(*gradients)
