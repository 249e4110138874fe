import warnings

import pytest
import torch
from torch import nn

from robusteval.attacks import ATTACKS, drive
from robusteval.attacks.cw import Cw
from robusteval.attacks.losses import margin
from robusteval.attacks.norms import NORMS
from robusteval.attacks.oracle import Answer, Oracle
from robusteval.core.errors import InputError
from robusteval.core.rng import Stream
from robusteval.core.types import Batch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    foolbox = pytest.importorskip("foolbox")

RANDOM, IDS, SHAPE = Stream.seeded(8), torch.arange(48), (3, 6, 6)
X = 0.3 + 0.4 * RANDOM.uniform(IDS, SHAPE)


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


def distances(model, data):
    """To the nearest boundary [n], in closed form."""
    logits, weight = model(data.x).double(), model[1].weight.double()
    size = (weight[data.y][:, None] - weight).norm(dim=2)
    lead = logits.gather(1, data.y[:, None]) - logits
    return torch.where(size > 0, lead / size, torch.inf).amin(dim=1)


class Scripted(Oracle):
    """A model that is broken by every constant above a limit, wherever the point."""

    def __init__(self, limit):
        super().__init__(nn.Identity())
        self.limit, self.constant = limit, torch.zeros(0)

    def gradient(self, x, y, loss=None):
        lead = torch.where(self.constant > self.limit, 1.0, -1.0)
        logits = torch.stack([-lead, torch.zeros_like(lead)], dim=1).float()
        return Answer(logits, lead.double(), torch.ones_like(x))


def test_trust_r18_the_distance_of_a_linear_model_is_the_closed_form():
    model = linear()
    data = labelled(model)
    expected = distances(model, data)
    outcome = drive(Cw(1e-6, lr=0.001, steps=200, initial_const=0.01), model, data, RANDOM)
    far = expected > 0.1 * expected.median()
    assert far.sum() > 40
    assert (outcome.distance > expected).all()
    ratio = (outcome.distance / expected)[far]
    assert ratio.median() < 1.02
    assert ratio.quantile(0.9) < 1.1


def test_the_first_step_of_adam_has_the_size_of_its_rate():
    """Its moments cancel: w moves by lr against the sign of the gradient, which is the margin's."""
    model = linear()
    data, attack, oracle = labelled(model), Cw(1.0, lr=0.02, initial_const=10.0), Oracle(model)
    state = attack.start(oracle, attack.fresh(data), RANDOM)
    torch.testing.assert_close(state.x, data.x, atol=1e-6, rtol=0)
    moved = attack.advance(oracle, state, RANDOM)
    other = model(X).argsort(dim=1, descending=True)[:, 1]
    uphill = (model[1].weight[other] - model[1].weight[data.y]).sign().reshape(data.x.shape)
    sought = (0.02 * uphill + (2 * data.x - 1).atanh()).tanh() / 2 + 0.5
    torch.testing.assert_close(moved.x, sought, atol=1e-5, rtol=0)


def test_the_constant_grows_tenfold_and_is_halved_in_between():
    attack, model = Cw(1.0, steps=3, binary_search_steps=9, initial_const=0.001), Scripted(0.03)
    data = Batch(X[:2], torch.zeros(2, dtype=torch.int64), IDS[:2])
    state, tried = attack.start(model, attack.fresh(data), RANDOM), []
    while bool((state.iteration < attack.budget).all()):
        model.constant = state.constant
        tried += [float(state.constant[0])] * int(state.step[0] == 0)
        state = attack.advance(model, state, RANDOM)
    expected = [0.001, 0.01, 0.1, 0.055, 0.0325, 0.02125, 0.026875, 0.0296875, 0.03109375]
    assert tried == pytest.approx(expected)


def test_the_last_of_ten_constants_is_the_smallest_that_broke():
    attack, model = Cw(1.0, steps=1, binary_search_steps=10, initial_const=0.001), Scripted(0.03)
    data = Batch(X[:2], torch.zeros(2, dtype=torch.int64), IDS[:2])
    state = attack.start(model, attack.fresh(data), RANDOM)
    for _ in range(9):
        model.constant = state.constant
        state = attack.advance(model, state, RANDOM)
    torch.testing.assert_close(state.constant, state.high)


def test_a_constant_that_lowers_nothing_is_left_after_a_tenth_of_its_steps():
    """A flat model: the loss is lowest at the image."""

    class Flat(nn.Module):
        def forward(self, x):
            return 0 * x.flatten(1)[:, :5] + x.new_tensor([1.0, 0.0, 0.0, 0.0, 0.0])

    data = Batch(X, torch.zeros(48, dtype=torch.int64), IDS)
    outcome = drive(Cw(1.0, steps=2000, binary_search_steps=2), Flat(), data, RANDOM)
    assert not outcome.broken.any()
    assert 2 * 201 * 48 <= outcome.backwards < 2 * 203 * 48


def test_confidence_is_a_lead_in_logits():
    model = linear()
    data = labelled(model)
    outcome = drive(Cw(30.0, steps=60, binary_search_steps=6, confidence=2.0), model, data, RANDOM)
    assert outcome.broken.all()
    assert (margin(outcome.logits, data.y) <= -2).all()


def test_it_works_in_l2_unless_told_otherwise():
    assert ATTACKS.parse("cw(eps=0.1)").norm == "l2"
    with pytest.raises(InputError, match="cw works in l2 only"):
        Cw(0.1, "linf")


@pytest.mark.parametrize("const", [0.001, 0.1])
def test_it_is_as_strong_as_foolbox(const):
    model, eps = curved(), 0.06
    data = labelled(model)
    budget = {"binary_search_steps": 5, "steps": 60, "initial_const": const}
    theirs = foolbox.attacks.L2CarliniWagnerAttack(**budget)
    found, _, success = theirs(foolbox.PyTorchModel(model, (0, 1), device="cpu"), data.x, data.y, epsilons=eps)
    expected = NORMS["l2"].size((found - data.x).double())
    outcome = drive(Cw(eps, **budget), model, data, RANDOM)
    assert outcome.distance.median() <= 1.01 * expected.median()
    assert int((~outcome.broken).sum()) <= int((~success).sum()) + 1
    assert 5 < int(success.sum()) < 48


@pytest.mark.parametrize(
    ("field", "value"), [("steps", 0), ("binary_search_steps", 0), ("lr", 0.0), ("confidence", -1.0)]
)
def test_a_wrong_value_is_refused(field, value):
    with pytest.raises(InputError, match=f"{field}={value}: must be"):
        Cw(0.1, **{field: value})
