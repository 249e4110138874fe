import math
import warnings

import pytest
import torch
from torch import nn

from robusteval.attacks import drive
from robusteval.attacks.fmn import Fmn
from robusteval.attacks.losses import margin_loss
from robusteval.attacks.minimum import beyond
from robusteval.attacks.norms import NORMS
from robusteval.attacks.oracle import Oracle
from robusteval.core.errors import InputError
from robusteval.core.rng import Stream
from robusteval.core.types import Batch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    foolbox = pytest.importorskip("foolbox")

RANDOM, IDS, SHAPE = Stream.seeded(8), torch.arange(64), (3, 6, 6)
X = 0.3 + 0.4 * RANDOM.uniform(IDS, SHAPE)
DUAL = {"linf": 1, "l2": 2, "l1": math.inf}


class Projected(foolbox.attacks.L2FMNAttack):
    """Foolbox 3.3.4 leaves out the projection in L2: its factor is norms / norms."""

    def project(self, x, x0, epsilon):
        delta = (x - x0).raw
        return x0 + type(x)(NORMS["l2"].project(delta, epsilon.raw))


THEIRS = {"linf": foolbox.attacks.LInfFMNAttack, "l2": Projected, "l1": foolbox.attacks.L1FMNAttack}


def linear():
    layer = nn.Linear(108, 5).requires_grad_(False)
    layer.weight.copy_(RANDOM.stream("weight").normal(torch.arange(5), (108,)))
    layer.bias.copy_(-layer.weight.sum(dim=1) / 2)
    return nn.Sequential(nn.Flatten(), layer).eval()


def curved():
    model = nn.Sequential(nn.Flatten(), nn.Linear(108, 32), nn.Tanh(), nn.Linear(32, 5)).requires_grad_(False)
    for number, layer in enumerate((model[1], model[3])):
        layer.weight.copy_(
            RANDOM.stream("layer", number).normal(torch.arange(len(layer.weight)), layer.weight[0].shape)
        )
        layer.bias.zero_()
    model[3].bias.copy_(-model(X).mean(dim=0))
    return model.eval()


def labelled(model, x=X):
    return Batch(x, model(x).argmax(dim=1), torch.arange(len(x)))


def distances(model, data, norm):
    """To the nearest boundary [n], in closed form."""
    logits, weight = model(data.x).double(), model[1].weight.double()
    dual = (weight[data.y][:, None] - weight).norm(p=DUAL[norm], dim=2)
    lead = logits.gather(1, data.y[:, None]) - logits
    return torch.where(dual > 0, lead / dual, torch.inf).amin(dim=1)


@pytest.mark.parametrize("norm", DUAL)
def test_trust_r18_the_distance_of_a_linear_model_is_the_closed_form(norm):
    model = linear()
    data = labelled(model)
    expected = distances(model, data, norm)
    outcome = drive(Fmn(1e-6, norm), model, data, RANDOM)
    far = expected > 0.05 * expected.median()
    assert far.sum() > 55
    assert (outcome.distance > expected).all()
    ratio = (outcome.distance / expected)[far]
    assert ratio.median() < 1.01
    assert ratio.quantile(0.9) < 1.05


@pytest.mark.parametrize("norm", DUAL)
def test_pixels_at_the_end_of_the_box_stay_in_it(norm):
    model, x = linear(), (3 * X - 1).clamp(0, 1)
    data = labelled(model, x)
    outcome = drive(Fmn({"linf": 1.0, "l2": 30.0, "l1": 200.0}[norm], norm), model, data, RANDOM)
    assert outcome.broken.all()
    assert (outcome.distance >= distances(model, data, norm)).all()


@pytest.mark.parametrize("norm", DUAL)
def test_the_radius_follows_the_paper(norm):
    """The linearised distance first; then down by a share where broken and up elsewhere, by the annealed share."""
    model = curved()
    data, attack, oracle = labelled(model), Fmn(1.0, norm, steps=20), Oracle(model)
    state = attack.start(oracle, attack.fresh(data), RANDOM)
    for step in range(20):
        answer, before = oracle.gradient(state.x, data.y, margin_loss), state
        state = attack.advance(oracle, state, RANDOM)
        slope = answer.gradient.double().flatten(1).norm(p=DUAL[norm], dim=1)
        far = NORMS[norm].size((before.x - data.x).double())
        gamma = 0.001 + 0.049 * (1 + math.cos(math.pi * step / 20)) / 2
        wrong = answer.loss > beyond(answer.logits) / 2
        linear = far + (answer.loss.abs() + beyond(answer.logits)) / slope
        larger = before.limit * (1 + gamma)
        up = torch.where(state.loss > -torch.inf, larger, linear)
        expected = torch.where(wrong, torch.minimum(before.limit * (1 - gamma), -state.loss), up)
        torch.testing.assert_close(state.limit, expected, rtol=1e-5, atol=1e-9)
        assert (NORMS[norm].size((state.x - data.x).double()) <= NORMS[norm].slack(state.limit)).all()


def test_the_first_step_is_along_the_gradient():
    model = linear()
    data, attack, oracle = labelled(model), Fmn(1.0, "l2"), Oracle(model)
    state = attack.advance(oracle, attack.start(oracle, attack.fresh(data), RANDOM), RANDOM)
    gradient = oracle.gradient(data.x, data.y, margin_loss).gradient
    answer = oracle.gradient(data.x, data.y, margin_loss)
    far = (answer.loss.abs() + beyond(answer.logits)) / gradient.double().flatten(1).norm(dim=1)
    step = gradient.flatten(1) / gradient.flatten(1).norm(dim=1, keepdim=True) * far[:, None].float()
    torch.testing.assert_close((state.x - data.x).flatten(1), step, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.008), ("l2", 0.06), ("l1", 0.3)])
def test_it_is_as_strong_as_foolbox(norm, eps):
    model = curved()
    data = labelled(model)
    reference = foolbox.PyTorchModel(model, (0, 1), device="cpu")
    found, _, success = THEIRS[norm](steps=60)(reference, data.x, data.y, epsilons=eps)
    expected = NORMS[norm].size((found - data.x).double())
    outcome = drive(Fmn(eps, norm, steps=60), model, data, RANDOM)
    assert outcome.distance.median() <= 1.01 * expected.median()
    assert int((~outcome.broken).sum()) <= int((~success).sum()) + 1
    assert 5 < int(success.sum()) < 60


def test_an_iteration_is_one_pass_and_nobody_leaves_early():
    model = linear()
    outcome = drive(Fmn(0.5, steps=7), model, labelled(model), RANDOM)
    assert outcome.broken.all()
    assert outcome.backwards == 7 * 64


@pytest.mark.parametrize(
    ("field", "value"), [("steps", 0), ("alpha", 0.0), ("alpha", math.inf), ("gamma", 1.0), ("alpha_final", 0.0)]
)
def test_a_wrong_value_is_refused(field, value):
    with pytest.raises(InputError, match=f"{field}={value}: must be"):
        Fmn(0.1, **{field: value})
