"""TRUST R18: what is broken is flagged, and what is not is not."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import robusteval

PGD, APGD, FGSM = "pgd(eps={}, steps=20)", "apgd(eps={}, steps=30)", "fgsm(eps={})"
SQUARE, SHORT = "square(eps={}, n_queries=100)", "autoattack(eps={}, steps=10, targets=1, n_queries=100)"


class Wrapped(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network


class ZeroGradient(Wrapped):
    """The logits are right and no gradient passes."""

    def forward(self, x):
        logits = self.network(x)
        return logits.detach() + 0 * logits


class QuantisedInput(Wrapped):
    """Pixels are rounded to 16 levels; rounding has the gradient 0."""

    def forward(self, x):
        return self.network((x * 15).round() / 15)


class SoftmaxOutput(Wrapped):
    """Probabilities in place of logits."""

    def forward(self, x):
        return self.network(x).softmax(dim=1)


class NoiseLayer(Wrapped):
    """New noise on the input at every pass, in eval mode too."""

    def forward(self, x):
        return self.network(x + 0.05 * torch.randn_like(x))


class RandomResize(Wrapped):
    """The image is enlarged by a random number of pixels and cut back (Xie et al. 2018, arXiv:1711.01991)."""

    def forward(self, x):
        size = x.shape[-1]
        larger = size + int(torch.randint(1, 5, ()))
        resized = functional.interpolate(x, size=(larger, larger), mode="nearest")
        top, left = (int(torch.randint(0, larger - size + 1, ())) for _ in range(2))
        return self.network(resized[:, :, top : top + size, left : left + size])


class RescaledGradient(Wrapped):
    """The gradient is multiplied by a factor; values and signs stay."""

    def __init__(self, network, factor=1e-12):
        super().__init__(network)
        self.factor = factor

    def forward(self, x):
        return self.network(self.factor * x + ((1 - self.factor) * x).detach())


class NanGradient(Wrapped):
    """A root at 0: black pixels have the gradient 0 / 0."""

    def forward(self, x):
        return self.network(x.sqrt().square())


# Which flag each control raises, and under which attacks; gradients say nothing of those that use none.
CONTROLS = [
    (ZeroGradient, "zero-gradients", [FGSM, PGD, APGD]),
    (ZeroGradient, "black-box-beats-white-box", [SHORT]),
    (QuantisedInput, "zero-gradients", [FGSM, PGD, APGD]),
    (SoftmaxOutput, "probabilities", [FGSM, PGD, SQUARE]),
    (NoiseLayer, "randomised", [FGSM, PGD, SQUARE]),
    (RandomResize, "randomised", [FGSM, PGD, SQUARE]),
    (RescaledGradient, "tiny-gradients", [FGSM, PGD, APGD]),
    (NanGradient, "nan-gradients", [FGSM, PGD, APGD]),
]


@pytest.fixture(scope="module")
def batch(fashion):
    return fashion.batch(slice(0, 64))


@pytest.fixture(scope="module")
def erm(bundled):
    return bundled("erm-seed0")


@pytest.mark.parametrize(
    ("control", "flag", "spec"),
    [pytest.param(c, flag, spec, id=f"{c.__name__}-{spec}") for c, flag, specs in CONTROLS for spec in specs],
)
def test_a_broken_model_raises_its_flag(control, flag, spec, erm, batch):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        outcome = robusteval.attack(control(erm), batch.x, batch.y, spec.format("4/255"), ids=batch.ids)
    assert flag in outcome.flags


@pytest.mark.parametrize("spec", [FGSM, PGD, APGD, SQUARE])
@pytest.mark.parametrize(("stem", "eps"), [("erm-seed0", "2/255"), ("mixup-seed0", "8/255")])
def test_a_bundled_checkpoint_raises_none(stem, spec, eps, bundled, batch):
    assert robusteval.attack(bundled(stem), batch.x, batch.y, spec.format(eps), ids=batch.ids).flags == ()


@pytest.mark.parametrize(("name", "depth"), [("resnet20-12fca82f.th", 20), ("resnet32-d509ac18.th", 32)])
@pytest.mark.parametrize("spec", [FGSM, PGD, APGD, SQUARE])
def test_a_strangers_network_raises_none(spec, name, depth, stranger, shared_data):
    with np.load(shared_data / "cifar10-slice.npz") as arrays:
        x, y = (torch.from_numpy(arrays[f"test_{part}"][:32]) for part in ("images", "labels"))
    x = x.permute(0, 3, 1, 2).float().div(255).contiguous()
    assert robusteval.attack(stranger(name, depth), x, y.long(), spec.format("2/255")).flags == ()


@pytest.mark.parametrize("spec", [FGSM, PGD, APGD, "pgd(eps=0.5, norm='l2')"])
def test_a_rescaled_gradient_does_not_stop_a_step(spec, erm, batch):
    found, plain = (
        robusteval.attack(model, batch.x, batch.y, spec.format("4/255"), ids=batch.ids)
        for model in (RescaledGradient(erm), RescaledGradient(erm, 1.0))
    )
    assert torch.equal(found.broken, plain.broken)
    assert 10 < int(plain.broken.sum()) < 64


def test_too_few_steps_are_flagged(erm, batch):
    """Steps of a hundredth of the radius: 20 of them stay in a fifth of it."""
    spec = "pgd(eps=8/255, steps=20, step=0.08/255, random_start=False)"
    assert robusteval.attack(erm, batch.x, batch.y, spec).flags == ("loss-still-rising",)


def test_a_loss_that_jumps_is_unstable(erm, batch):
    """A fine ripple on the input, whose slope hides the network's."""

    class Rippled(Wrapped):
        def forward(self, x):
            return self.network(x + 0.1 * torch.sin(1e5 * x))

    assert "unstable" in robusteval.attack(Rippled(erm), batch.x, batch.y, PGD.format("4/255")).flags
