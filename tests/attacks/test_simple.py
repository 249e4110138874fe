"""The short ones: bim, mifgsm and noise."""

import warnings

import pytest
import torch
from torch import nn

import robusteval
from robusteval.attacks import ATTACKS, drive
from robusteval.attacks.bim import Bim
from robusteval.attacks.flags import IMAGES, NEARBY, REPEATS
from robusteval.attacks.losses import cross_entropy
from robusteval.attacks.mifgsm import Mifgsm
from robusteval.attacks.noise import Noise
from robusteval.attacks.norms import NORMS
from robusteval.attacks.oracle import Oracle, predict
from robusteval.core.rng import Stream
from robusteval.core.types import Batch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torchattacks = pytest.importorskip("torchattacks")

RANDOM, IDS = Stream.seeded(6), torch.arange(60)


@pytest.fixture(scope="module")
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(48, 32), nn.Tanh(), nn.Linear(32, 4)).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def batch(model):
    x = RANDOM.uniform(IDS, (3, 4, 4))
    return Batch(x, model(x).argmax(dim=1), IDS)


def points(attack, model, batch, steps):
    """Where the rows are after so many steps."""
    oracle = Oracle(model)
    state = attack.start(oracle, attack.fresh(batch), RANDOM)
    for _ in range(steps):
        state = attack.advance(oracle, state, RANDOM)
    return state.x


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("spec", ["bim(eps=0.05, step=0.05", "mifgsm(eps=0.05"])
def test_one_long_step_is_fgsm(spec, norm, model, batch):
    one, fgsm = (ATTACKS.parse(f"{text}, norm='{norm}')") for text in (f"{spec}, steps=1", "fgsm(eps=0.05"))
    found, expected = (points(attack, model, batch, 1) for attack in (one, fgsm))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_momentum_sums_gradients_of_unit_l1_norm(model, batch):
    """Algorithm 1 of the paper, written out."""
    x, momentum = batch.x, torch.zeros_like(batch.x)
    for steps in range(1, 5):
        asked = x.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(cross_entropy(model(asked), batch.y).sum(), asked)
        momentum = 0.5 * momentum + gradient / gradient.abs().sum(dim=(1, 2, 3), keepdim=True)
        x = (x + 0.05 / 4 * momentum.sign()).clamp(0, 1)
        attack = Mifgsm(0.05, steps=4, decay=0.5)
        torch.testing.assert_close(points(attack, model, batch, steps), x, rtol=0, atol=1e-6)


def test_without_momentum_it_is_bim(model, batch):
    first, second = (attack(0.05, steps=4, step=0.02, **more) for attack, more in ((Bim, {}), (Mifgsm, {"decay": 0.0})))
    assert torch.equal(points(first, model, batch, 4), points(second, model, batch, 4))


@pytest.mark.parametrize(("attack", "path"), [(Bim, 1.25), (Mifgsm, 1.0)])
def test_the_steps_together_are_the_papers_share_of_the_radius(attack, path, model, batch):
    bright = Batch(0.5 * batch.x + 0.25, batch.y, batch.ids)
    change = points(attack(0.05, steps=8), model, bright, 1) - bright.x
    torch.testing.assert_close(change.abs(), torch.full_like(change, path * 0.05 / 8))


@pytest.mark.parametrize("norm", NORMS)
def test_noise_passes_each_draw_forward_once(norm, model, batch):
    tiny = drive(Noise(1e-6, norm, draws=7), model, batch, RANDOM)
    changed = int((tiny.inputs != batch.x).flatten(1).any(dim=1).sum())
    assert not tiny.broken.any()
    assert (tiny.forwards, tiny.backwards) == (60 * (1 + 7) + changed + IMAGES * (REPEATS + NEARBY), 0)


def test_noise_breaks_more_with_more_draws_and_counts_them(model, batch):
    few, many = (drive(Noise(0.3, draws=draws), model, batch, RANDOM) for draws in (3, 30))
    assert (few.broken <= many.broken).all()
    assert 0 < few.broken.sum() < many.broken.sum() < 60
    assert (many.steps_to_break[few.broken] == few.steps_to_break[few.broken]).all()
    assert set(few.steps_to_break[few.broken].tolist()) == {1, 2, 3}


def test_trust_r13_noise_breaks_far_fewer_than_gradients(resnet20, cifar):
    x, y = cifar.x[:48], cifar.y[:48]
    noise, gradients = (robusteval.attack(resnet20, x, y, f"{spec}(eps=1/255)").broken for spec in ("noise", "bim"))
    assert 4 * noise.sum() < gradients.sum()


@pytest.mark.parametrize(
    ("spec", "theirs"),
    [
        ("bim(eps=0.5/255, step=0.125/255)", lambda net: torchattacks.BIM(net, 0.5 / 255, 0.125 / 255, 10)),
        ("mifgsm(eps=0.5/255)", lambda net: torchattacks.MIFGSM(net, 0.5 / 255, 0.05 / 255, 10)),
    ],
)
def test_it_is_as_strong_as_torchattacks(spec, theirs, resnet20, cifar):
    x, y = cifar.x[:64], cifar.y[:64]
    left = int((~robusteval.attack(resnet20, x, y, spec).broken).sum())
    expected = int((predict(resnet20, theirs(resnet20)(x, y), 64).argmax(dim=1) == y).sum())
    assert expected - 2 <= left <= expected + 1
    assert 10 < left < 50
