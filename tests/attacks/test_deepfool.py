import warnings

import pytest
import torch
from torch import nn

from robusteval.attacks import drive
from robusteval.attacks.deepfool import Deepfool
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
DUAL = {"linf": 1, "l2": 2}


def linear():
    """Five classes whose boundaries are at all distances from each other."""
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
    """To the boundary of each class [n, k], in closed form; infinite for the label's own."""
    logits, weight = model(data.x).double(), model[1].weight.double()
    dual = (weight[data.y][:, None] - weight).norm(p=DUAL[norm], dim=2)
    lead = logits.gather(1, data.y[:, None]) - logits
    return torch.where(dual > 0, lead / dual, torch.inf)


@pytest.mark.parametrize("norm", DUAL)
def test_trust_r18_the_distance_of_a_linear_model_is_the_closed_form(norm):
    model = linear()
    data = labelled(model)
    expected = distances(model, data, norm).amin(dim=1)
    outcome = drive(Deepfool(1e-6, norm), model, data, RANDOM)
    far = expected > 0.2 * expected.median()  # nearer ones are beyond rounding only further than 2% of the way
    assert far.sum() > 45
    assert (outcome.distance > 0.9999 * expected).all()
    assert (outcome.distance <= 1.03 * expected)[far].all()
    assert not outcome.broken[expected > 1e-5].any()


@pytest.mark.parametrize("norm", DUAL)
def test_the_first_step_is_the_papers(norm):
    """The nearest class by |f| / ||w||, along w / ||w||^2 or the signs of w, and 2% further."""
    model = linear()
    data, attack, oracle = labelled(model), Deepfool(1.0, norm), Oracle(model)
    state = attack.advance(oracle, attack.start(oracle, attack.fresh(data), RANDOM), RANDOM)
    far, nearest = distances(model, data, norm).min(dim=1)
    weight = model[1].weight[nearest] - model[1].weight[data.y]
    along = weight.sign() if norm == "linf" else weight / weight.norm(dim=1, keepdim=True)
    step = 1.02 * far[:, None].float() * along
    torch.testing.assert_close((state.x - data.x).flatten(1), step, rtol=1e-3, atol=1e-4)
    assert (oracle.forwards, oracle.backwards) == (2 * 64, 5 * 64)


def test_a_sample_leaves_when_it_is_broken():
    model = linear()
    outcome = drive(Deepfool(0.5), model, labelled(model), RANDOM)
    assert outcome.broken.all()
    assert (outcome.steps_to_break == 1).all()
    assert outcome.backwards == 2 * 5 * 64  # none left, so that nothing is looked at closer


def test_fewer_candidates_cost_fewer_passes():
    model = linear()
    data = labelled(model)
    few, all_ = (drive(Deepfool(0.5, "l2", candidates=number), model, data, RANDOM) for number in (2, 10))
    assert few.backwards == 2 * 2 * 64
    assert (few.distance >= all_.distance * 0.999).all()
    runner_up = distances(model, data, "l2").gather(1, model(X).argsort(dim=1, descending=True)[:, 1:2])[:, 0]
    torch.testing.assert_close(few.distance, 1.02 * runner_up, rtol=0.02, atol=1e-3)


@pytest.mark.parametrize("norm", DUAL)
def test_pixels_at_the_end_of_the_box_are_passed_over_in_the_end(norm):
    model, x = linear(), (3 * X - 1).clamp(0, 1)
    data = labelled(model, x)
    outcome = drive(Deepfool(1.0 if norm == "linf" else 30.0, norm), model, data, RANDOM)
    assert outcome.broken.all()
    assert (outcome.distance >= distances(model, data, norm).amin(dim=1)).all()


def test_several_radii_are_those_of_the_distance():
    """A point outside one of them was looked at on its edge too."""
    model = curved()
    radii = (0.002, 0.004, 0.008)
    outcome = drive(Deepfool(radii), model, labelled(model), RANDOM)
    for eps in radii:
        alone = drive(Deepfool(eps), model, labelled(model), RANDOM)
        assert int((alone.broken != (outcome.distance <= eps + 1e-7)).sum()) <= 1


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.008), ("l2", 0.06)])
def test_it_is_as_strong_as_foolbox(norm, eps):
    model = curved()
    data = labelled(model)
    theirs = {"linf": foolbox.attacks.LinfDeepFoolAttack, "l2": foolbox.attacks.L2DeepFoolAttack}[norm]()
    found, _, success = theirs(foolbox.PyTorchModel(model, (0, 1), device="cpu"), data.x, data.y, epsilons=eps)
    expected = NORMS[norm].size((found - data.x).double())
    outcome = drive(Deepfool(eps, norm), model, data, RANDOM)
    assert outcome.distance.median() <= 1.01 * expected.median()
    assert int((~outcome.broken).sum()) <= int((~success).sum()) + 1
    assert 5 < int(success.sum()) < 60


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [("steps", 0, "at least 1"), ("overshoot", -0.1, "at least 0 and finite"), ("candidates", 1, "at least 2")],
)
def test_a_wrong_value_is_refused(field, value, rule):
    with pytest.raises(InputError, match=f"{field}={value}: must be {rule}"):
        Deepfool(0.1, **{field: value})
