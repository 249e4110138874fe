import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from robusteval.core.errors import CheckpointError, InputError
from robusteval.models.fit import Settings, fit, optimiser

X = torch.linspace(-1, 1, 64)[:, None]


def line(settings, **kwargs):
    torch.manual_seed(0)
    model = nn.Linear(1, 1)
    batches = lambda epoch: X[torch.randperm(64, generator=torch.Generator().manual_seed(epoch))].split(16)  # noqa: E731
    fit(model, batches, lambda net, x: functional.mse_loss(net(x), 3 * x + 1), settings, **kwargs)
    return model


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "step", "constant"])
def test_finds_a_line_on_every_schedule(schedule):
    epochs = []
    settings = Settings(epochs=40, steps_per_epoch=4, lr=0.05, weight_decay=0, schedule=schedule)
    model = line(settings, on_epoch=epochs.append)
    assert model.weight.item() == pytest.approx(3, abs=0.02)
    assert model.bias.item() == pytest.approx(1, abs=0.02)
    assert not model.training
    assert [epoch.number for epoch in epochs] == list(range(40))
    assert epochs[-1].loss < epochs[0].loss
    assert epochs[-1].steps == 160


def test_equal_runs_give_equal_bits():
    settings = Settings(epochs=3, steps_per_epoch=4)
    assert torch.equal(line(settings).weight, line(settings).weight)


@given(
    schedule=st.sampled_from(["one-cycle", "cosine", "step", "constant"]),
    warmup=st.floats(0, 0.9),
    steps=st.integers(1, 60),
)
def test_the_rate_rises_then_never_rises_again(schedule, warmup, steps):
    settings = Settings(1, steps, lr=0.5, schedule=schedule, warmup=warmup)
    rates = [settings.rate(step) for step in range(steps)]
    assert all(0 < rate <= 0.5 + 1e-9 for rate in rates)
    after = [rate for step, rate in enumerate(rates) if (step + 1) / (steps + 1) >= warmup]
    assert after == sorted(after, reverse=True)


def test_one_dimensional_parameters_do_not_decay():
    groups = optimiser(nn.Linear(3, 2), Settings(1, 1, weight_decay=0.1)).param_groups
    assert [(group["params"][0].ndim, group["weight_decay"]) for group in groups] == [(2, 0.1), (1, 0.0)]


def test_divergence_is_said():
    with pytest.raises(CheckpointError, match=r"training diverged at step \d+: loss is (nan|inf); lower lr=1e\+10"):
        line(Settings(epochs=40, steps_per_epoch=4, lr=1e10))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"epochs": 0}, "epochs=0: must be at least 1"),
        ({"steps_per_epoch": 0}, "steps_per_epoch=0"),
        ({"lr": 0.0}, "lr=0.0: must be above 0"),
        ({"lr": float("nan")}, "lr=nan"),
        ({"momentum": 1.0}, "momentum=1.0"),
        ({"momentum": 0.0}, "nesterov=True: needs a momentum"),
        ({"weight_decay": -1.0}, "weight_decay=-1.0"),
        ({"warmup": 1.0}, "warmup=1.0"),
        ({"milestones": (0.5, 2.0)}, "milestones="),
    ],
)
def test_settings_have_rules(changes, said):
    with pytest.raises(InputError, match=said):
        Settings(**{"epochs": 1, "steps_per_epoch": 1, **changes})
