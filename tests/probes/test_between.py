import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import nn

from robusteval.core.errors import InputError
from robusteval.core.types import Batch
from robusteval.probes.between import Between
from robusteval.probes.paths import drawn, matched

X = torch.rand(60, 1, 2, 2, generator=torch.Generator().manual_seed(0))
Y = torch.arange(60) % 4
IDS = torch.arange(60) * 7 + 3
BATCH = Batch(X, Y, IDS)


def measured(probe, subject, rng):
    (measurement,) = probe.measure(subject, rng)
    return measurement.frame


def linear():
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 4))
    with torch.no_grad():
        network[1].weight.copy_(torch.tensor([[3.0, 0, 0, 0], [0, 3, 0, 0], [0, 0, 3, 0], [0, 0, 0, 3]]))
        network[1].bias.zero_()
    return network


@pytest.mark.parametrize("k", [None, 4])
def test_a_linear_model_does_not_deviate_in_logits(subject, rng, k):
    frame = measured(Between(k=k), subject(linear(), X, Y), rng)
    assert frame[["logit_deviation_across", "logit_deviation_within"]].max().max() < 1e-5
    assert frame["probability_deviation_across"].max() > 1e-3


def test_a_quadratic_logit_deviates_as_known(subject, rng):
    """For z = (c |x|^2, 0) the deviation is -c s (1 - s) |x_i - x_j|^2, times 1/sqrt 2 once centred."""

    class Quadratic(nn.Module):
        def forward(self, x):
            return nn.functional.pad(5 * x.flatten(1).square().sum(dim=1, keepdim=True), (0, 1))

    one = subject(Quadratic(), X, Y % 2)
    frame = measured(Between(points=3), one, rng)
    partner = drawn(one.batch, rng.stream("between"))["across"]
    apart = (X - X[partner]).flatten(1).square().sum(dim=1)
    mean = (3 / 16 + 1 / 4 + 3 / 16) / 3
    expected = (5 * mean * apart / 2**0.5).double()
    torch.testing.assert_close(torch.tensor(frame["logit_deviation_across"].to_numpy()), expected, rtol=1e-4, atol=1e-5)


def test_a_model_that_always_says_one_class_misses_the_pairs_without_it(subject, rng):
    class Constant(nn.Module):
        def forward(self, x):
            return torch.tensor([0.0, 5.0, 0.0, 0.0]).expand(len(x), 4) + 0 * x.flatten(1)

    one = subject(Constant(), X, Y)
    frame = measured(Between(), one, rng)
    partner = drawn(one.batch, rng.stream("between"))["across"]
    expected = ((Y != 1) & (Y[partner] != 1)).double()
    assert frame["neither_across"].tolist() == expected.tolist()
    assert frame["neither_within"].tolist() == (Y != 1).double().tolist()
    assert frame["probability_deviation_across"].max() < 1e-12
    assert frame["gradient_norm_across"].max() == 0


@pytest.mark.parametrize("gradient", ["loss", "logit"])
def test_the_gradient_norm_is_autograds(subject, rng, gradient):
    network, one = linear(), subject(linear(), X, Y)
    frame = measured(Between(points=1, gradient=gradient), one, rng)
    partner = drawn(one.batch, rng.stream("between"))["across"]
    x = ((X + X[partner]) / 2).requires_grad_(True)
    logits = network(x).double()
    ends = [nn.functional.cross_entropy(logits, labels, reduction="none") for labels in (Y, Y[partner])]
    value = (ends[0] + ends[1]) / 2 if gradient == "loss" else logits.amax(dim=1)
    (slope,) = torch.autograd.grad(value.sum(), x)
    found = torch.tensor(frame["gradient_norm_across"].to_numpy())
    torch.testing.assert_close(found, slope.flatten(1).norm(dim=1).double(), rtol=1e-5, atol=1e-7)


def test_partners_are_of_the_other_and_of_the_same_class(rng):
    partners = drawn(BATCH, rng)
    assert (Y[partners["across"]] != Y).all()
    assert (Y[partners["within"]] == Y).all()
    assert (partners["within"] != torch.arange(60)).all()


def test_partners_are_drawn_evenly(rng):
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    across, within = torch.zeros(6, 6), torch.zeros(6, 6)
    for draw in range(3000):
        found = drawn(Batch(X[:6], labels, IDS[:6]), rng.stream(draw))
        across[torch.arange(6), found["across"]] += 1
        within[torch.arange(5), found["within"][:5]] += 1
        assert found["within"][5] == -1
    allowed = labels[:, None] != labels
    torch.testing.assert_close(across / 3000, allowed / allowed.sum(dim=1, keepdim=True), rtol=0, atol=0.05)
    alike = ~allowed & ~torch.eye(6, dtype=torch.bool)
    torch.testing.assert_close(within / 3000, alike / alike.sum(dim=1, keepdim=True).clamp_min(1), rtol=0, atol=0.05)


@pytest.mark.parametrize("k", [None, 5])
def test_partners_belong_to_the_sample_ids(rng, k):
    order = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    mixed = Batch(X[order], Y[order], IDS[order])
    find = (lambda batch: drawn(batch, rng)) if k is None else (lambda batch: matched(batch, k, rng))
    for kind, partner in find(BATCH).items():
        other = find(mixed)[kind]
        named = torch.where(other >= 0, mixed.ids[other], -1)[order.argsort()]
        assert torch.equal(torch.where(partner >= 0, IDS[partner], -1), named)


def test_matched_partners_are_the_optimal_assignment_of_two_halves(rng):
    found = matched(BATCH, 30, rng)
    partner = torch.maximum(found["within"], found["across"])
    assert torch.equal(partner[partner], torch.arange(60))
    order = IDS.argsort()
    order = order[rng.stream("between", "order").words(IDS[order], 1)[:, 0].argsort()]
    first, second = order[:30], order[30:]
    cost = torch.cdist(X[first].flatten(1).double(), X[second].flatten(1).double()).square()
    rows, columns = linear_sum_assignment(cost.numpy())
    present = (X - X[partner])[first].flatten(1).double().square().sum()
    assert present == pytest.approx(cost[rows, columns].sum().item())


def test_matched_segments_are_shorter(subject, rng):
    near, far = (measured(Between(k=k), subject(linear(), X, Y), rng) for k in (30, 1))
    columns = ["probability_deviation_within", "probability_deviation_across"]
    assert near[columns].stack().mean() < far[columns].stack().mean()
    assert near[columns].isna().any(axis=1).all()


@pytest.mark.parametrize("probe", [Between(), Between(k=3)])
def test_a_sample_alone_has_no_partner(subject, rng, probe):
    frame = measured(probe, subject(linear(), X[:1], Y[:1]), rng)
    assert frame.drop(columns=["sample", "label"]).isna().all(axis=None)


def test_curves_have_the_means_of_the_columns(subject, rng):
    one, probe = subject(linear(), X, Y), Between(points=4)
    frame, curves = measured(probe, one, rng), probe.curves(one, rng)
    assert curves["share"].tolist() == [0.2, 0.4, 0.6, 0.8]
    for name in ("neither_across", "gradient_norm_within", "logit_deviation_across"):
        assert curves[name].mean() == pytest.approx(frame[name].mean())


def test_it_counts_its_passes(subject, rng):
    (measurement,) = Between(points=5).measure(subject(linear(), X, Y), rng)
    assert (measurement.facts.forwards, measurement.facts.backwards) == (60 * (1 + 2 * 5), 60 * 2 * 5)


def test_another_seed_draws_other_partners(subject, rng):
    one = subject(linear(), X, Y)
    found = [measured(Between(), one, stream)["probability_deviation_across"] for stream in (rng, rng.stream(1))]
    assert not found[0].equals(found[1])


@pytest.mark.parametrize("wrong", [{"points": 0}, {"k": 0}])
def test_a_wrong_parameter_is_answered_with_the_rule(wrong):
    with pytest.raises(InputError, match=f"{next(iter(wrong))}=.*must be"):
        Between(**wrong)
