"""Foreign attacks under the house's roof: the points are theirs, the verdict is ours."""

import builtins
import re
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from robusteval.attacks import ATTACKS, Passes, drive
from robusteval.attacks.flags import IMAGES, NEARBY, REPEATS
from robusteval.attacks.norms import NORMS
from robusteval.attacks.oracle import Oracle, predict
from robusteval.attacks.torchattacks import Torchattacks
from robusteval.core.errors import InputError, SpecError
from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.models import ARCHITECTURES
from robusteval.probes import parse_view

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torchattacks = pytest.importorskip("torchattacks")

RANDOM, IDS, SHAPE = Stream.seeded(8), torch.arange(40), (3, 8, 8)


class Straight(nn.Module):
    """Hands back contiguous gradients, without which theirs crashes on subsampling shortcuts."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        if x.requires_grad:
            x = x.clone()
            x.register_hook(lambda gradient: gradient.contiguous())
        return self.network(x)


def little():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(nn.Flatten(), nn.Linear(192, 32), nn.Tanh(), nn.Linear(32, 10)).eval()


def strided():
    return ARCHITECTURES.parse("resnet-cifar(depth=8, shortcut='A')").initialised(SHAPE, 10).eval()


@pytest.fixture(scope="module", params=[little, strided])
def model(request):
    """Balanced, so that some images are near a boundary."""
    network = request.param().requires_grad_(False)
    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    last.bias.data -= network(RANDOM.uniform(torch.arange(300), SHAPE)).mean(dim=0)
    return network


@pytest.fixture(scope="module")
def batch(model):
    x = RANDOM.uniform(IDS, SHAPE)
    return Batch(x, predict(model, x, 40).argmax(dim=1), IDS)


@pytest.mark.parametrize(
    ("name", "arguments", "norm", "radii"),
    [
        ("FGSM", {}, "linf", (0.002, 0.02)),
        ("PGD", {"alpha": 0.005, "steps": 5, "random_start": False}, "linf", (0.002, 0.02)),
        ("DeepFool", {"steps": 5}, "l2", (0.02, 0.2)),
        ("CW", {"c": 5, "steps": 20}, "l2", (0.02, 0.2)),
    ],
)
def test_the_verdict_is_that_of_running_it_alone(name, arguments, norm, radii, model, batch):
    whole = Passes(48)  # the package's own batch is all 40
    for eps in radii:
        own = {"eps": eps} if norm == "linf" else {}
        points = getattr(torchattacks, name)(Straight(model).eval(), **own, **arguments)(batch.x, batch.y).detach()
        size = NORMS[norm].size((points - batch.x).double())
        wrong = model(points).argmax(dim=1) != batch.y
        given = "".join(f", {key}={value!r}" for key, value in arguments.items())
        found = drive(
            ATTACKS.parse(f"torchattacks:{name}(eps={eps}, norm='{norm}'{given})"), model, batch, RANDOM, passes=whole
        )
        assert torch.equal(found.broken, wrong & (size <= NORMS[norm].slack(torch.tensor(eps))))
        torch.testing.assert_close(found.distance, torch.where(wrong, size, torch.inf), rtol=1e-4, atol=1e-7)


def test_several_radii_are_for_attacks_that_know_none(model, batch):
    spec = "torchattacks:DeepFool(eps=[0.01, 0.1, 1.0], norm='l2')"
    distance = drive(ATTACKS.parse(spec), model, batch, RANDOM).distance
    for eps in (0.01, 0.1, 1.0):
        single = drive(ATTACKS.parse(f"torchattacks:DeepFool(eps={eps}, norm='l2')"), model, batch, RANDOM)
        assert torch.equal(single.broken, distance <= eps * (1 + 1e-5))
    with pytest.raises(InputError, match=r"eps=\(0.1, 0.2\): must be one number"):
        ATTACKS.parse("torchattacks:FGSM(eps=[0.1, 0.2])")


def test_passes_are_counted(model, batch):
    """Each in the attack, one to judge its points there, and those of every attack."""
    found = drive(ATTACKS.parse("torchattacks:PGD(eps=1e-6, steps=7)"), model, batch, RANDOM)
    assert not found.broken.any()
    assert found.backwards == 40 * 7 + IMAGES
    assert found.forwards == 40 * (1 + 7 + 1) + IMAGES * (REPEATS + NEARBY + 1)


@pytest.mark.parametrize("name", ["PGD", "APGD", "Square", "Pixle"])
def test_the_same_batch_gets_the_same_points_and_the_generators_stay(name, model, batch):
    given = {"Square": ", n_queries=20", "Pixle": ", restarts=1, max_iterations=2"}.get(name, "")
    attack = ATTACKS.parse(f"torchattacks:{name}(eps=0.02{given})")
    state, numbers = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    points = []
    for _ in range(2):
        oracle = Oracle(model)
        points.append(attack.advance(oracle, attack.start(oracle, attack.fresh(batch), RANDOM), RANDOM).x)
    assert torch.equal(*points)
    assert not torch.equal(points[0], batch.x)
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state()[1] == numbers).all()  # noqa: NPY002
    other = attack.advance(Oracle(model), attack.start(Oracle(model), attack.fresh(batch), RANDOM), Stream.seeded(9)).x
    assert not torch.equal(other, points[0])


def test_parameters_keep_their_gradients_and_the_model_its_mode(batch):
    """CW calls backward, which would add to the gradients of what it differentiates (TRUST R4, R5)."""
    model = little()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    drive(ATTACKS.parse("torchattacks:CW(eps=0.1, norm='l2', steps=3)"), model, batch, RANDOM)
    assert all(torch.equal(parameter.grad, torch.ones_like(parameter)) for parameter in model.parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not model.training


def test_what_leaves_the_ball_counts_for_nothing(model, batch):
    """A step of 0.5 with a radius of 0.5, judged in a ball of 0.01."""
    found = drive(ATTACKS.parse("torchattacks:GN(eps=0.01, std=0.5)"), model, batch, RANDOM)
    assert not found.broken.any()
    assert torch.equal(found.inputs, batch.x)
    assert 0.01 < float(found.distance.min()) < 1


def test_a_model_that_cuts_the_gradient_is_attacked_all_the_same(batch):
    class Quantised(nn.Module):
        def forward(self, x):
            return (x * 4).to(torch.uint8).float().mean(dim=(2, 3))

    y = Quantised()(batch.x).argmax(dim=1)
    found = drive(ATTACKS.parse("torchattacks:PGD(eps=0.02)"), Quantised(), batch._replace(y=y), RANDOM)
    assert found.inputs.isfinite().all()


def test_it_is_told_the_number_of_classes(batch):
    """Which is 10 by default there, and 4 here."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = nn.Sequential(nn.Flatten(), nn.Linear(192, 4)).eval()
    y = model(batch.x).argmax(dim=1)
    spec = "torchattacks:FAB(eps=0.05, multi_targeted=True, steps=3)"
    assert int(drive(ATTACKS.parse(spec), model, batch._replace(y=y), RANDOM, passes=Passes(32)).broken.sum()) > 20


def test_eps_and_norm_reach_the_attack(monkeypatch, model, batch):
    made = []

    class Square(torchattacks.Square):
        def __init__(self, model, norm="Linf", eps=0.5, n_queries=5000, seed=0):
            super().__init__(model, norm, eps, n_queries, seed=seed)
            made.append((norm, eps, n_queries))

    monkeypatch.setattr(torchattacks, "Square", Square)
    drive(ATTACKS.parse("torchattacks:Square(eps=8/255, norm='l2', n_queries=10)"), model, batch, RANDOM)
    assert set(made) == {("L2", 8 / 255, 10)}


def test_its_spec_is_the_view():
    spec = "torchattacks:Square(eps=8/255, norm='l2', n_queries=10)"
    assert ATTACKS.parse(spec).spec == parse_view(spec).spec == spec
    assert parse_view(spec).facets[:5] == ("attack", "torchattacks", None, 8 / 255, "l2")


@pytest.mark.parametrize(
    ("spec", "error", "said"),
    [
        ("PDG(eps=0.1)", SpecError, "torchattacks has no attack 'PDG': did you mean 'PGD'"),
        ("LGV(eps=0.1)", SpecError, "torchattacks has no attack 'LGV': "),
        ("PGD", SpecError, "PGD needs eps, as in torchattacks:PGD(eps=...)"),
        ("PGD(eps=0.1, stepps=3)", SpecError, "PGD has no parameter 'stepps'; did you mean 'steps'"),
        ("PGD(eps=8)", InputError, "eps=8: must be at most 1 for linf"),
        ("PGD(eps='8/255')", SpecError, "eps must be float or a list of float, not '8/255'"),
        ("PGD(eps=0.1, norm='l7')", SpecError, "norm must be 'linf' or 'l2' or 'l1', not 'l7'"),
        ("PGDRS(eps=0.1, model=1)", SpecError, "PGDRS has no parameter 'model'"),
    ],
)
def test_a_wrong_spec_is_answered_with_the_rule(spec, error, said):
    with pytest.raises(error, match=re.escape(said)):
        ATTACKS.parse(f"torchattacks:{spec}")


def test_without_the_package_a_line_says_how_to_get_it(monkeypatch):
    real = builtins.__import__

    def importing(name, *rest):
        if name == "torchattacks":
            raise ModuleNotFoundError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", importing)
    with pytest.raises(SpecError, match=re.escape("not installed: pip install 'robusteval[torchattacks]'")):
        Torchattacks("PGD", (("eps", 0.1),))
