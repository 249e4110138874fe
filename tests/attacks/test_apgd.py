import warnings
from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

import robusteval
from robusteval.attacks import ATTACKS, Passes, drive
from robusteval.attacks.apgd import Apgd, windows
from robusteval.attacks.flags import IMAGES, NEARBY, REPEATS
from robusteval.attacks.oracle import Answer, Oracle, predict
from robusteval.core.errors import InputError
from robusteval.core.rng import Stream
from robusteval.core.types import Batch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torchattacks = pytest.importorskip("torchattacks")

RANDOM, IDS, SHAPE = Stream.seeded(4), torch.arange(48), (3, 6, 6)
X = 0.3 + 0.4 * RANDOM.uniform(IDS, SHAPE)
"""In the middle of the box, which a change of less than 0.3 does not reach."""


def linear(classes):
    layer = nn.Linear(108, classes).requires_grad_(False)
    layer.weight.copy_(RANDOM.stream("weight").normal(torch.arange(classes), (108,)))
    layer.bias.copy_(-layer.weight.sum(dim=1) / 2)
    return nn.Sequential(nn.Flatten(), layer).eval()


def curved(classes=5):
    model = nn.Sequential(nn.Flatten(), nn.Linear(108, 32), nn.Tanh(), nn.Linear(32, classes)).requires_grad_(False)
    for number, layer in enumerate((model[1], model[3])):
        layer.weight.copy_(
            RANDOM.stream("layer", number).normal(torch.arange(len(layer.weight)), layer.weight[0].shape)
        )
        layer.bias.zero_()
    model[3].bias.copy_(-model(X).mean(dim=0))
    return model.eval()


def labelled(model, x=X):
    return Batch(x, model(x).argmax(dim=1), torch.arange(len(x)))


@dataclass(frozen=True)
class Watched(Apgd):
    """Keeps everyone to the end, from given starts."""

    goal = "loss"

    at: torch.Tensor | None = None

    def _scattered(self, fresh, rng):
        return fresh.x if self.at is None else self.at[fresh.ids]


class Scripted(Oracle):
    """Answers with given losses [n, steps], whatever is asked; the gradient says when it was asked."""

    def __init__(self, losses):
        super().__init__(nn.Identity())
        self.losses, self.asked = losses, torch.zeros(len(losses), dtype=torch.int64)

    def gradient(self, x, y, loss=None):
        now = self.losses.gather(1, self.asked[:, None])[:, 0]
        self.asked += 1
        logits = nn.functional.one_hot(y, 5).float()
        return Answer(logits, now, torch.ones_like(x) * self.asked[:, None, None, None])


def climbs(attack, losses, x=X):
    """The state before each step."""
    model, ids = Scripted(losses), torch.arange(len(losses))
    state = attack.start(model, attack.fresh(Batch(x[: len(losses)], torch.zeros_like(ids), ids)), RANDOM)
    states = [state]
    for _ in range(losses.shape[1]):
        states.append(attack.advance(model, states[-1], RANDOM))
    return states


def test_the_checkpoints_are_the_authors():
    assert [at for at, window in enumerate(windows(100, "linf")) if window] == [22, 41, 57, 70, 80, 87, 93, 99]
    assert windows(100, "l2") == windows(100, "linf")
    assert [at for at, window in enumerate(windows(100, "l1")) if window] == list(range(4, 100, 4))
    assert [at for at, window in enumerate(windows(1000, "linf")) if window][:4] == [220, 410, 570, 700]
    assert windows(1, "linf") == (0,)
    for steps in (1, 2, 5, 10, 20, 33, 100):
        for norm in ("linf", "l1"):
            found = windows(steps, norm)
            at = [number for number, window in enumerate(found) if window]
            assert [found[number] for number in at] == [b - a for a, b in zip([0, *at], at, strict=False)]


def paper(losses, checkpoints):
    """Algorithm 1 for one sample, told in lists: the factor on the step size and whether it went back, at each step."""
    factor, last, best_then, halved_then, told = 1.0, 0, None, True, []
    for now in range(len(losses)):
        back = False
        if now in checkpoints:
            rises = sum(losses[i + 1] > losses[i] for i in range(last, now))
            best = max(losses[: now + 1])
            back = rises <= 0.75 * (now - last) or (not halved_then and best_then == best)
            factor /= 1 + back
            last, best_then, halved_then = now, best, back
        told.append((factor, back))
    return told


def test_the_step_size_is_halved_as_the_paper_says():
    """Falling, rising, rising to a plateau, and 45 losses at random that rise more or less often."""
    time = torch.arange(100.0, dtype=torch.float64)
    noise = RANDOM.stream("loss").normal(torch.arange(45), (100,)).double()
    drift = torch.linspace(0, 2, 45, dtype=torch.float64)[:, None]
    losses = torch.cat([torch.stack([-time, time, time.clamp_max(41)]), (noise + drift).cumsum(dim=1)])
    attack = Watched(0.1)
    states = climbs(attack, losses)
    checkpoints = {22, 41, 57, 70, 80, 87, 93, 99}
    for row in range(48):
        told = paper(losses[row].tolist(), checkpoints)
        assert [float(state.step[row]) for state in states[1:]] == pytest.approx([0.2 * factor for factor, _ in told])
    falling, rising, flat = ([float(state.step[row]) / 0.2 for state in states[1:]] for row in range(3))
    assert falling[21:23] == pytest.approx([1, 0.5])
    assert falling[-1] == pytest.approx(2**-8)
    assert rising[-1] == pytest.approx(1)
    assert [flat[at] for at in (56, 57, 99)] == pytest.approx([1, 0.5, 2**-6])
    assert len({round(float(step), 6) for step in states[-1].step}) > 4


def test_halving_goes_back_to_the_highest_point_and_its_gradient():
    losses = torch.zeros(2, 24, dtype=torch.float64)
    losses[0, 5], losses[1] = 1.0, torch.arange(24)
    states = climbs(Watched(0.1), losses)
    back, on = 0, 1
    before, after = states[22], states[23]
    assert torch.equal(before.peak[back], states[5].x[back])
    assert torch.equal(after.old[back], before.peak[back])
    assert torch.equal(after.old[on], before.x[on])
    assert (before.slope[back] == 6).all()
    assert torch.equal(after.peak[on], before.x[on])


def test_samples_at_different_iterations_share_a_batch():
    """Two that start 7 steps apart climb as each would alone."""
    model, attack = Oracle(curved()), Apgd(0.05, steps=40)
    x, y, ids = labelled(model.model)
    alone = []
    for rows in (slice(0, 8), slice(8, 16)):
        state = attack.start(model, attack.fresh(Batch(x[rows], y[rows], ids[rows])), RANDOM)
        for _ in range(40):
            state = attack.advance(model, state, RANDOM)
        alone.append(state)
    first, second = (
        attack.start(model, attack.fresh(Batch(x[r], y[r], ids[r])), RANDOM) for r in (slice(0, 8), slice(8, 16))
    )
    for _ in range(7):
        first = attack.advance(model, first, RANDOM)
    both = first.joined(second)
    for _ in range(33):
        both = attack.advance(model, both, RANDOM)
    early, late = both.rows(torch.arange(8)), both.rows(torch.arange(8, 16))
    for _ in range(7):
        late = attack.advance(model, late, RANDOM)
    for found, expected in zip((early, late), alone, strict=True):
        assert all(torch.equal(value, vars(expected)[name]) for name, value in vars(found).items())
    assert len(set(both.step.tolist())) > 1


def test_in_l1_the_sparsity_follows_the_pixels_changed():
    """The checkpoints come every 4 steps; the highest point is the first, with 54 of 108 changed, then another."""
    x = X[:2]
    moved = x.clone()
    moved[:, :, :, :3] += 0.01
    losses = torch.zeros(2, 12, dtype=torch.float64)
    losses[:, 0], losses[1, 6] = 1.0, 2.0
    states = climbs(Watched(0.5, "l1", at=moved), losses, x)
    assert [float(state.share[0]) for state in (states[4], states[5], states[9])] == pytest.approx([0.2, 1 / 3, 1 / 3])
    # Fewer pixels than all of them: the full step, from the highest point; then as many: a shorter step.
    assert [float(state.step[0]) for state in states[4:11]] == pytest.approx([0.5] * 5 + [1 / 3] * 2)
    assert torch.equal(states[5].old, moved)
    assert not torch.equal(states[9].old[0], moved[0])
    changed = int((states[6].x[1] != x[1]).sum())
    assert float(states[9].share[1]) == pytest.approx(changed / 108 / 1.5)


def test_a_step_in_l1_is_no_shorter_than_a_tenth_of_eps():
    states = climbs(Watched(0.5, "l1", steps=100, at=X + 0.001), torch.zeros(4, 60, dtype=torch.float64))
    assert float(states[-1].step.min()) == pytest.approx(0.05)


class Noting(nn.Module):
    """Notes the points where it is asked, in order."""

    def __init__(self, model):
        super().__init__()
        self.model, self.points = model, []

    def forward(self, x):
        self.points.append(x.detach().clone())
        return self.model(x)


@pytest.mark.parametrize(("norm", "eps", "theirs"), [("linf", 0.004, "Linf"), ("l2", 0.03, "L2")])
@pytest.mark.parametrize("loss", ["ce", "dlr"])
def test_every_iterate_is_that_of_torchattacks(norm, eps, theirs, loss):
    """From one start, in float64, all 60 points."""
    noting = Noting(curved().double())
    x, y, ids = labelled(noting.model, X.double())
    other = torchattacks.APGD(noting, norm=theirs, eps=eps, steps=60, loss=loss)
    # Their first step is compared with a loss of 0, which a shifted loss exceeds as it exceeds its start.
    other.dlr_loss = lambda logits, y: torchattacks.APGD.dlr_loss(other, logits, y) + 100
    torch.manual_seed(0)
    other.attack_single_run(x, y)
    attack, model = Watched(eps, norm, loss=loss, steps=60, at=noting.points[0]), Oracle(noting.model)
    state = attack.start(model, attack.fresh(Batch(x, y, ids)), RANDOM)
    off, plain = [], torch.ones_like(ids, dtype=torch.bool)
    for expected in list(noting.points):
        off.append((state.x - expected).abs().flatten(1).amax(dim=1))
        # Where the label is the third the loss is constant, and its gradient rounding.
        plain &= (noting.model(expected).topk(2).indices == y[:, None]).any(dim=1)
        state = attack.advance(model, state, RANDOM) if len(off) < 61 else state
    assert len(off) == 61
    assert plain.sum() > 24
    assert torch.stack(off)[:, plain].max() < 1e-4
    assert state.step[plain].median() < eps


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("loss", ["ce", "dlr", "t"])
@pytest.mark.parametrize("classes", [2, 3, 4])
def test_trust_r18_the_robust_accuracy_of_a_linear_model_is_the_closed_form(classes, loss, norm):
    """All of it where every class was aimed at or there is one other; in L1 the last steps move several pixels."""
    model, eps = linear(classes), {"linf": 0.01, "l2": 0.08, "l1": 0.25}[norm]
    data, weight = labelled(model), model[1].weight
    logits = model(X)
    lead = logits.gather(1, data.y[:, None]) - logits
    dual = (weight[data.y][:, None] - weight).norm(p={"linf": 1, "l2": 2, "l1": torch.inf}[norm], dim=2)
    distance = torch.where(lead > 0, lead / dual, torch.inf).amin(dim=1)
    attack = Apgd(eps, norm, loss=loss, steps=50)
    broken = drive(attack, model, data, RANDOM).broken
    clear = (distance - eps).abs() > (0.2 if norm == "l1" else 2e-3) * eps
    assert clear.sum() > (30 if norm == "l1" else 40)
    assert 4 < (distance < eps).sum() < 44
    assert (distance[broken] < eps * (1 + 1e-4)).all()
    if classes == 2 or attack.loss_used(classes) == "t":
        assert torch.equal(broken[clear], (distance < eps)[clear])
    assert broken.sum() >= 0.8 * (distance < eps).sum()


@pytest.mark.parametrize(
    ("classes", "used", "starts"),
    [
        (2, {"ce": "ce", "dlr": "margin", "t": "margin"}, 2),
        (3, {"ce": "ce", "dlr": "dlr", "t": "margin"}, 2),
        (4, {"ce": "ce", "dlr": "dlr", "t": "t"}, 6),
        (10, {"ce": "ce", "dlr": "dlr", "t": "t"}, 18),
        (1000, {"ce": "ce", "dlr": "dlr", "t": "t"}, 18),
    ],
)
def test_few_classes_have_their_losses_and_targets(classes, used, starts):
    attacks = [Apgd(0.1, loss=loss, restarts=2) for loss in ("ce", "dlr", "t")]
    assert {attack.loss: attack.loss_used(classes) for attack in attacks} == used
    assert [attack.entries(classes) for attack in attacks] == [2, 2, starts]


@pytest.mark.parametrize(("classes", "targets", "starts"), [(2, 9, 1), (3, 9, 1), (4, 9, 3), (6, 9, 5), (6, 2, 2)])
def test_a_robust_sample_costs_the_steps_of_its_starts_and_the_targets_are_the_likeliest(classes, targets, starts):
    model, aims = linear(classes), []

    @dataclass(frozen=True)
    class Telling(Apgd):
        def advance(self, model, state, rng):
            aims.append(state.rows(state.ids == 7).aim)
            return super().advance(model, state, rng)

    data = labelled(model)
    attack = Telling(1e-7, loss="t", steps=4, restarts=2, targets=targets)
    outcome = drive(attack, model, data, RANDOM)
    assert not outcome.broken.any()
    assert outcome.backwards == 48 * 2 * starts * 4 + IMAGES
    # One pass of the clean image and of the last point at each start, the judge's two, and the looks for flags.
    assert outcome.forwards == 48 * (2 + 2 * starts * 6) + IMAGES * (REPEATS + NEARBY + 1)
    order = model(X)[7].argsort(descending=True).tolist()
    assert torch.cat(aims).tolist() == [[order[0], order[1 + number // 8]] for number in range(2 * starts * 4)]


def test_the_others_cost_a_pass_and_a_last_one():
    model = linear(5)
    outcome = drive(Apgd(1e-7, steps=6, restarts=2), model, labelled(model), RANDOM)
    looks = IMAGES * (REPEATS + NEARBY + 1)
    assert (outcome.forwards, outcome.backwards) == (48 * (2 + 2 * 7) + looks, 48 * 12 + IMAGES)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_a_start_is_at_the_edge_of_the_ball(norm):
    attack, model = Apgd(0.2, norm), Oracle(linear(5))
    x, y, ids = labelled(model.model)
    first, second = (attack.start(model, attack.fresh(Batch(x, y, ids), entry), RANDOM).x for entry in (0, 1))
    torch.testing.assert_close(
        attack.ball.size((first - x).double()), torch.full((48,), 0.2).double(), rtol=1e-5, atol=0
    )
    assert not torch.equal(first, second)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("loss", ["ce", "dlr", "t"])
def test_trust_r10_more_restarts_or_targets_never_leave_more_robust(norm, loss):
    """Other steps have other checkpoints, so only starts are comparable."""
    model, attack = curved(), Apgd({"linf": 0.01, "l2": 0.08, "l1": 0.3}[norm], norm, loss, steps=12, targets=1)
    base, more, aimed = (
        drive(replace(attack, **change), model, labelled(model), RANDOM).broken
        for change in ({}, {"restarts": 3}, {"targets": 3})
    )
    assert (base <= aimed).all()
    assert base.sum() <= more.sum()
    assert (base <= more).all()


def test_the_best_point_is_the_highest_that_was_seen():
    """With everyone kept: no point of the way has a higher loss than the one that is returned."""
    model = curved()
    data, noting = labelled(model), Noting(model)
    attack = Watched(0.03, steps=30, at=(X + 0.01))
    outcome = drive(attack, noting, data, RANDOM, judge=model, passes=Passes(len(X)))
    # The way's rows are sorted by their lead; each point is sought among all samples' points.
    losses = torch.stack([attack.objective(model(point), attack_y) for point, attack_y in ways(noting, data)])
    found = attack.objective(outcome.logits, data.y)
    torch.testing.assert_close(losses.amax(dim=0).sort().values, found.sort().values)


def ways(noting, data):
    """Points and labels, in the order in which the driver passes them; the looks for flags are of fewer images."""
    logits = noting.model(data.x)
    first, second = logits.topk(2).values.unbind(dim=1)
    order = (first - second).argsort(descending=True, stable=True)
    return [(point, data.y[order]) for point in noting.points if len(point) == len(data.x)]


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_it_is_as_strong_as_pgd(norm):
    model, eps = curved(), {"linf": 0.008, "l2": 0.06, "l1": 0.3}[norm]
    pgd, apgd = (
        drive(ATTACKS.parse(f"{name}(eps={eps}, norm='{norm}', steps=40)"), model, labelled(model), RANDOM).broken.sum()
        for name in ("pgd", "apgd")
    )
    assert 5 < pgd <= apgd < 48


@pytest.mark.parametrize("field", ["steps", "restarts", "targets"])
def test_none_of_something_is_refused(field):
    with pytest.raises(InputError, match=f"{field}=0: must be at least 1"):
        Apgd(0.1, **{field: 0})


@pytest.mark.parametrize(
    ("arguments", "theirs"),
    [
        ("steps=10", lambda model, eps: torchattacks.APGD(model, eps=eps, steps=10)),
        ("loss='dlr', steps=10", lambda model, eps: torchattacks.APGD(model, eps=eps, steps=10, loss="dlr")),
        ("loss='t', steps=5, targets=3", lambda model, eps: torchattacks.APGDT(model, eps=eps, steps=5, n_classes=4)),
    ],
)
def test_it_is_as_strong_as_in_torchattacks_on_a_strangers_net(resnet20, cifar, arguments, theirs):
    x, y = cifar.x[:64], cifar.y[:64]
    ours = robusteval.attack(resnet20, x, y, f"apgd(eps=0.5/255, {arguments})")
    moved = theirs(resnet20, 0.5 / 255)(x, y)
    left = int((predict(resnet20, moved, 64).argmax(dim=1) == y).sum())
    assert 0 < int((~ours.broken).sum()) <= left + 1
