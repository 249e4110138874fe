"""Another library as an oracle, on a stranger's network and its real images."""

import warnings

import pytest
import torch

import robusteval
from robusteval.attacks.losses import margin
from robusteval.attacks.oracle import predict

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torchattacks = pytest.importorskip("torchattacks")

EPS = {"0.5/255": 0.5 / 255, "2/255": 2 / 255}


@pytest.mark.parametrize("text", EPS)
def test_pgd_is_as_strong(resnet20, cifar, text):
    """Robust accuracy within one point of theirs, and no more than 0.3 points above it."""
    eps = EPS[text]
    outcome = robusteval.attack(resnet20, cifar.x, cifar.y, f"pgd(eps={text}, steps=20)")
    torch.manual_seed(0)
    attack = torchattacks.PGD(resnet20, eps=eps, alpha=2.5 * eps / 20, steps=20, random_start=True)
    theirs = predict(resnet20, attack(cifar.x, cifar.y), 128).argmax(dim=1) == cifar.y
    difference = 100 * (float((~outcome.broken).float().mean()) - float(theirs.float().mean()))
    assert -1 <= difference <= 0.3


@pytest.mark.parametrize("text", EPS)
def test_fgsm_is_the_same_image_for_image(resnet20, cifar, text):
    outcome = robusteval.attack(resnet20, cifar.x, cifar.y, f"fgsm(eps={text})")
    theirs = torchattacks.FGSM(resnet20, eps=EPS[text])(cifar.x, cifar.y)
    lead, logits = margin(predict(resnet20, cifar.x, 128), cifar.y), predict(resnet20, theirs, 128)
    # Where the label leads by much, the gradient of their cross-entropy, worked in float32, loses the label's term.
    plain = (lead > 0) & (lead < 8)
    assert plain.sum() > 10
    # A gradient within rounding of 0 may have another sign in the folded network.
    same = (outcome.inputs - theirs).abs() < 1e-6
    assert same[plain].float().mean() > 0.999
    clear = plain & (margin(logits, cifar.y).abs() > 1e-2)
    assert torch.equal(outcome.broken[clear], (logits.argmax(dim=1) != cifar.y)[clear])
    assert outcome.broken.sum() >= (logits.argmax(dim=1) != cifar.y).sum()
