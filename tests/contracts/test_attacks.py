"""What every attack owes its caller: all that are registered, in every norm."""

import contextlib
import copy
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import robusteval
from robusteval.attacks import ATTACKS, Passes, drive
from robusteval.attacks.norms import NORMS
from robusteval.attacks.oracle import predict
from robusteval.core.component import Provider
from robusteval.core.errors import InputError, SpecError
from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.models import ARCHITECTURES, checkpoint
from robusteval.models.classifier import Classifier

NAMES = [name for name, attack in ATTACKS.classes.items() if not issubclass(attack, Provider)]
EPS = {"linf": ("2/255", "0.4/255"), "l2": ("0.08", "0.001"), "l1": ("0.4", "0.005")}
# What is tried of an attack whose defaults are slow or not all there is to it.
ARGUMENTS = {
    "apgd": ["steps=12", "loss='dlr', steps=12, restarts=2", "loss='t', steps=12, targets=2"],
    "autoattack": ["steps=8, targets=2, n_queries=20", "mode='rand', steps=3, eot=2"],
    "cw": ["binary_search_steps=4, steps=12, initial_const=0.1"],
    "deepfool": ["steps=8"],
    "eot-pgd": ["steps=6, eot=2"],
    "fab": ["steps=12, restarts=2, targets=2", "targeted=False, steps=8, restarts=2"],
    "fmn": ["steps=20"],
    "noise": ["draws=20"],
    "square": ["n_queries=50"],
    "transfer": ["steps=8, restarts=2"],
}
# What else than eps an attack cannot do without.
NEEDED = {"transfer": {"source": "twin.safetensors"}}


def needed(name):
    """That as the end of a spec's arguments."""
    return "".join(f", {key}={value!r}" for key, value in NEEDED.get(name, {}).items())


def specs(number):
    """Every attack in every norm that it knows, at the eps of that number."""
    return [
        f"{name}(eps={EPS[norm][number]}, norm='{norm}'{', ' * bool(arguments)}{arguments}{needed(name)})"
        for name in NAMES
        for norm in ATTACKS.classes[name].norms
        for arguments in ARGUMENTS.get(name, [""])
    ]


SPECS, SMALL = specs(0), specs(1)
RANDOM = Stream.seeded(0)


def strangers_net():
    """Strided option-A shortcuts, whose gradient is not contiguous, and batch norms that are not the identity.

    The classes are balanced, so that some images are near a boundary.
    """
    network = ARCHITECTURES.parse("resnet-cifar(depth=8, shortcut='A')").initialised((3, 8, 8), 4)
    for number, norm in enumerate(module for module in network.modules() if isinstance(module, nn.BatchNorm2d)):
        draws = RANDOM.stream("norm", number).uniform(torch.arange(norm.num_features), (3,))
        norm.running_mean.copy_(draws[:, 0] - 0.5)
        norm.running_var.copy_(draws[:, 1] + 0.5)
        norm.weight.data.copy_(draws[:, 2] + 0.5)
    model = Classifier(network, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)).eval()
    network.linear.bias.data -= predict(model, images(torch.arange(512)), 64).mean(dim=0)
    return model


def images(ids):
    """With pixels at both ends of the box."""
    return (1.2 * RANDOM.stream("images").uniform(ids, (3, 8, 8)) - 0.1).clamp(0, 1)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model():
    return strangers_net()


@pytest.fixture(autouse=True, scope="module")
def _twin(tmp_path_factory, model):
    """The checkpoint that points are carried over from, in the working directory."""
    card = checkpoint.Card(
        architecture="resnet-cifar(depth=8, shortcut='A')",
        classes=tuple("0123"),
        shape=(3, 8, 8),
        mean=(0.5, 0.4, 0.3),
        std=(0.2, 0.25, 0.3),
    )
    with contextlib.chdir(tmp_path_factory.mktemp("twin")):
        checkpoint.save(Path("twin.safetensors"), model, card)
        yield


@pytest.fixture(scope="module")
def batch(model):
    """64 images; every fifth label is wrong."""
    ids = torch.arange(64) * 7 + 3
    x = images(ids)
    y = predict(model, x, 64).argmax(dim=1)
    return Batch(x, torch.where(torch.arange(64) % 5 == 0, (y + 1) % 4, y), ids)


@pytest.fixture(scope="module")
def outcome(model, batch):
    """The outcome of a spec at batch size 32, made once."""
    made = {}

    def of(spec):
        if spec not in made:
            made[spec] = robusteval.attack(model, batch.x, batch.y, spec, ids=batch.ids, batch_size=32)
        return made[spec]

    return of


@pytest.mark.parametrize("spec", SPECS)
def test_the_spec_is_the_attack(spec):
    assert ATTACKS.parse(ATTACKS.parse(spec).spec) == ATTACKS.parse(spec)


@pytest.mark.parametrize("spec", SPECS)
def test_it_breaks_some_and_not_all(spec, outcome, batch):
    """Else the other tests of this file would say little."""
    broken = int(outcome(spec).broken.sum())
    assert 13 < broken < 64, broken


@pytest.mark.parametrize("size", [1, 7, 64])
@pytest.mark.parametrize("spec", SPECS)
def test_the_batch_size_changes_no_verdict(spec, size, model, batch, outcome):
    expected, other = outcome(spec), robusteval.attack(model, *batch[:2], spec, ids=batch.ids, batch_size=size)
    torch.testing.assert_close(other.broken, expected.broken)
    torch.testing.assert_close(other.steps_to_break, expected.steps_to_break, equal_nan=True)
    assert torch.equal(other.inputs, expected.inputs)
    assert torch.equal(other.logits, expected.logits)
    assert (other.forwards, other.backwards) == (expected.forwards, expected.backwards)


@pytest.mark.parametrize("spec", SPECS)
def test_order_changes_no_bit(spec, model, batch, outcome):
    order = RANDOM.permutation(torch.zeros(1, dtype=torch.int64), 64)[0]
    x, y, ids = (tensor[order] for tensor in batch)
    expected, other = outcome(spec), robusteval.attack(model, x, y, spec, ids=ids, batch_size=48)
    assert torch.equal(other.inputs, expected.inputs[order])
    assert torch.equal(other.logits, expected.logits[order])
    torch.testing.assert_close(other.steps_to_break, expected.steps_to_break[order], equal_nan=True)


@pytest.mark.parametrize("spec", SPECS)
def test_a_part_of_the_batch_gets_the_same_bits(spec, model, batch, outcome):
    expected, x, y, ids = outcome(spec), *(tensor[20:39] for tensor in batch)
    other = robusteval.attack(model, x, y, spec, ids=ids)
    assert torch.equal(other.inputs, expected.inputs[20:39])
    assert torch.equal(other.logits, expected.logits[20:39])


@pytest.mark.parametrize("spec", SPECS)
def test_trust_r1_eps_0_is_clean_sample_by_sample(spec, model, batch):
    attack = replace(ATTACKS.parse(spec), eps=0.0)
    outcome = robusteval.attack(model, batch.x, batch.y, attack.spec, ids=batch.ids)
    assert torch.equal(outcome.inputs, batch.x)
    assert torch.equal(outcome.logits, predict(model, batch.x, 64))


@pytest.mark.parametrize("spec", SPECS)
def test_trust_r1_normalisation_is_part_of_what_is_differentiated(spec, batch):
    """One gain of 100 in the normalisation, undone by the network, changes nothing but rounding."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    plain, scaled = Classifier(network, (0.0,), (1.0,)).eval(), Classifier(copy.deepcopy(network), (0.0,), (0.01,))
    scaled.network[1].weight.data /= 100
    y = predict(plain, batch.x, 64).argmax(dim=1)
    first, second = (robusteval.attack(model, batch.x, y, spec) for model in (plain, scaled.eval()))
    assert int((first.broken != second.broken).sum()) <= 1


@pytest.mark.parametrize("name", NAMES)
def test_trust_r2_eps_is_kept_as_written(name):
    attack = ATTACKS.parse(f"{name}(eps=8/255{needed(name)})")
    assert attack.eps == 8 / 255
    assert attack.spec == f"{name}(eps=8/255{needed(name)})"


@pytest.mark.parametrize("spec", SPECS + SMALL)
def test_trust_r3_the_result_is_in_the_ball_and_the_box(spec, outcome, batch):
    attack, result = ATTACKS.parse(spec), outcome(spec)
    delta = (result.inputs.double() - batch.x.double()).flatten(1)
    sizes = {"linf": delta.abs().amax(dim=1), "l2": delta.norm(dim=1), "l1": delta.norm(p=1, dim=1)}
    limit = attack.eps + 1e-7 if attack.norm == "linf" else attack.eps * (1 + 1e-5)
    assert result.inputs.isfinite().all()
    assert 0 <= result.inputs.min() <= result.inputs.max() <= 1
    assert sizes[attack.norm].max() <= limit
    torch.testing.assert_close(result.linf, sizes["linf"])
    torch.testing.assert_close(result.l2, sizes["l2"])


@pytest.mark.parametrize("spec", SPECS)
def test_trust_r4_r5_the_caller_keeps_everything_as_it_was(spec, batch):
    model = nn.Sequential(strangers_net().network, nn.Dropout(0.5)).train()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = {**copy.deepcopy(model.state_dict()), **dict(zip("xyi", [t.clone() for t in batch], strict=True))}
    state = torch.get_rng_state()
    outcome = robusteval.attack(model, batch.x, batch.y, spec, ids=batch.ids)
    after = {**model.state_dict(), **dict(zip("xyi", batch, strict=True))}
    assert all(torch.equal(after[key], before[key]) for key in before)
    assert all(torch.equal(parameter.grad, torch.ones_like(parameter)) for parameter in model.parameters())
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(outcome.logits, predict(copy.deepcopy(model).eval(), outcome.inputs, 64))


@pytest.mark.parametrize("spec", SPECS)
def test_trust_r6_the_original_in_float32_has_the_last_word(spec, model, batch):
    """What is differentiated calls everything broken; the judge does not."""

    class Liar(nn.Module):
        def forward(self, x):
            return -1000 * model(x)

    attack = ATTACKS.parse(spec)
    outcome = drive(attack, Liar(), batch, RANDOM, judge=model)
    assert outcome.inputs.dtype == outcome.logits.dtype == torch.float32
    assert torch.equal(outcome.logits, predict(model, outcome.inputs, 128))
    assert torch.equal(outcome.broken, outcome.logits.argmax(dim=1) != batch.y)
    assert not outcome.broken.all()


@pytest.mark.parametrize("spec", SPECS)
def test_trust_r8_what_is_wrong_from_the_start_is_broken_and_never_attacked(spec, model, batch, outcome):
    result, wrong = outcome(spec), predict(model, batch.x, 64).argmax(dim=1) != batch.y
    assert int(wrong.sum()) == 13
    assert result.broken[wrong].all()
    assert (result.steps_to_break[wrong] == 0).all()
    assert torch.equal(result.inputs[wrong], batch.x[wrong])
    assert result.steps_to_break[~result.broken].isnan().all()
    searches = ATTACKS.parse(spec).searches
    longest = sum(search.budget * search.entries(4) for search in searches)
    assert (result.steps_to_break[result.broken] <= longest).all()
    alone = robusteval.attack(model, batch.x[wrong], batch.y[wrong], spec)
    assert (alone.forwards, alone.backwards) == (13 * max(search.eot for search in searches), 0)


class Counting(nn.Module):
    """Counts the rows that are no padding, forward and backward."""

    def __init__(self, model):
        super().__init__()
        self.model, self.forwards, self.backwards = model, 0, 0

    def forward(self, x):
        rows = int(x.flatten(1).any(dim=1).sum())
        self.forwards += rows
        if x.requires_grad:
            x.register_hook(lambda _: self.count(rows))
        return self.model(x)

    def count(self, rows):
        self.backwards += rows


@pytest.mark.parametrize("spec", SPECS)
def test_every_pass_is_counted(spec, model, batch):
    counting = Counting(model)
    outcome = drive(ATTACKS.parse(spec), counting, batch, RANDOM, passes=Passes(32))
    assert (outcome.forwards, outcome.backwards) == (counting.forwards, counting.backwards)


@settings(max_examples=12, deadline=None)
@given(
    spec=st.sampled_from([spec for spec in SPECS if spec.startswith("pgd")]),
    steps=st.integers(1, 4),
    restarts=st.integers(1, 2),
    seed=st.integers(0, 99),
)
def test_trust_r8_more_steps_or_restarts_never_leave_more_robust(spec, steps, restarts, seed):
    model, attack = strangers_net(), ATTACKS.parse(spec)
    ids = torch.arange(32)
    x = Stream.seeded(seed).uniform(ids, (3, 8, 8))
    data = Batch(x, predict(model, x, 32).argmax(dim=1), ids)

    def broken(steps, restarts):
        more = type(attack)(attack.eps, attack.norm, steps=steps, step=attack.eps / 4, restarts=restarts)
        return drive(more, model, data, Stream.seeded(seed)).broken

    base = broken(steps, restarts)
    assert (base <= broken(steps + 1, restarts)).all()
    assert (base <= broken(steps, restarts + 1)).all()


@pytest.mark.parametrize("spec", SPECS)
def test_a_model_that_cuts_the_gradient_is_attacked_all_the_same(spec, batch):
    """Quantised input: no gradient reaches the image."""

    class Quantised(nn.Module):
        def forward(self, x):
            return nn.functional.pad((x * 4).to(torch.uint8).float().mean(dim=(2, 3)), (0, 1))

    model = Quantised()
    y = predict(model, batch.x, 64).argmax(dim=1)
    outcome = robusteval.attack(model, batch.x, y, spec)
    assert outcome.inputs.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ("", SpecError, "needs eps, as in {name}(eps=...)"),
        (
            "eps=8, norm='linf'",
            InputError,
            "eps=8.0: must be at most 1 for linf: images are in [0, 1], so write eps=8/255",
        ),
        ("eps=-0.1", InputError, "eps=-0.1: must be at least 0 and finite"),
        ("eps='8/255'", SpecError, "eps must be float or a list of float, not '8/255'"),
        ("eps=[]", InputError, "eps=(): must be a number or a list of them"),
        ("eps=[2/255, 1/255]", InputError, "eps=(2/255, 1/255): must rise from each to the next"),
        ("eps=[0.1, 8], norm='linf'", InputError, "eps=8.0: must be at most 1 for linf"),
        ("eps=8/255, norm='l7'", SpecError, "norm must be 'linf' or 'l2' or 'l1', not 'l7'"),
        ("eps=8/255, epss=1", SpecError, "no parameter 'epss'; did you mean 'eps'"),
    ],
)
def test_a_wrong_spec_is_answered_with_the_rule(name, arguments, error, message):
    with pytest.raises(error) as caught:
        ATTACKS.parse(f"{name}({arguments}{arguments and needed(name)})")
    assert message.format(name=name) in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_a_norm_that_an_attack_does_not_know_is_refused(name):
    known = ATTACKS.classes[name].norms
    for norm in set(NORMS) - set(known):
        with pytest.raises(InputError, match=f"norm='{norm}': {name} works in {' and '.join(known)} only"):
            ATTACKS.parse(f"{name}(eps=0.1, norm='{norm}'{needed(name)})")


@pytest.mark.parametrize("eps", [math.inf, math.nan])
@pytest.mark.parametrize("name", NAMES)
def test_eps_is_a_number(name, eps):
    with pytest.raises(InputError, match="finite"):
        ATTACKS.classes[name](eps=eps, norm="l2", **NEEDED.get(name, {}))


def test_an_unknown_attack_is_answered_with_the_nearest():
    with pytest.raises(SpecError, match="did you mean 'pgd'"):
        ATTACKS.parse("pdg")
