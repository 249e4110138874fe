"""What every probe owes the engine: every kind of view, over all that are registered."""

import numpy as np
import pytest
import torch
from torch import nn

from robusteval.attacks import Passes
from robusteval.core.component import Provider
from robusteval.core.errors import InputError
from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.models.fuse import evaluation_form
from robusteval.probes import PROBES, parse_view
from robusteval.probes.probe import Subject
from robusteval.results.schema import PREDICTION_COLUMNS, is_classified, own_columns

# What a probe needs to be told.
TOLD = {"ood": "ood(data='digits', samples=20)"}
OWN = [
    TOLD.get(name, name)
    for name, probe in PROBES.classes.items()
    if name not in ("attacked", "corrupted", "official") and not issubclass(probe, Provider)
]
VIEWS = [*OWN, "gaussian-noise@2", "fog@5", "fgsm(eps=2/255)", "pgd(eps=2/255, steps=3, norm='linf')"]
SHAPE = (3, 32, 32)
SHAPES = {"multiview": (6, 32, 32)}


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def network(shape=SHAPE, seed=0):
    rng = Stream.seeded(seed)
    layers = nn.Sequential(
        nn.Conv2d(shape[0], 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(1800, 4)
    ).eval()
    for number, parameter in enumerate(layers.parameters()):
        scale = 1 / max(1, parameter[0].numel()) ** 0.5
        parameter.data.copy_(scale * rng.stream(number).normal(torch.arange(len(parameter)), parameter.shape[1:]))
    return layers


def subject(rows=slice(None), batch_size=64, model=None, shape=SHAPE):
    ids = torch.arange(50) * 3 + 1
    x = Stream.seeded(1).uniform(ids, shape).mul(255).round().div(255)
    model = model or network(shape)
    return Subject(
        model,
        evaluation_form(model, x[:32]).model,
        Batch(x[rows], (ids % 4)[rows], ids[rows]),
        ("d", 0),
        Passes(batch_size),
    )


def measured(view, *arguments, **options):
    options["shape"] = SHAPES.get(view, SHAPE)
    (measurement,) = parse_view(view).measure(subject(*arguments, **options), Stream.seeded(0))
    return measurement


@pytest.mark.parametrize("view", VIEWS)
def test_the_view_is_named_by_its_spec(view):
    probe = parse_view(view)
    assert probe.spec == measured(view).view
    assert parse_view(probe.spec) == probe
    assert probe.facets.kind
    assert probe in probe.components


@pytest.mark.parametrize("view", VIEWS)
def test_the_frame_has_the_columns_of_the_record(view):
    measurement = measured(view)
    frame, batch = measurement.frame, subject().batch
    own, others = frame[: len(batch.y)], frame[len(batch.y) :]
    assert own["sample"].tolist() == batch.ids.tolist()
    assert own["label"].tolist() == batch.y.tolist()
    assert ((others["label"] == -1) & (others["sample"] >= 1 << 40)).all()
    assert is_classified(frame) or own_columns(frame)
    assert all(frame[name].dtype == np.float64 for name in own_columns(frame))
    assert measurement.facts.forwards >= len(frame)
    if is_classified(frame):
        assert list(frame.columns[:9]) == ["sample", "label", *PREDICTION_COLUMNS, "logits"]


@pytest.mark.parametrize("view", VIEWS)
def test_order_and_batch_size_change_no_bit(view):
    order = torch.from_numpy(np.random.default_rng(0).permutation(50))
    expected = measured(view).frame
    other = measured(view, order, 7).frame.sort_values("sample", ignore_index=True)
    assert other.drop(columns="logits", errors="ignore").equals(expected.drop(columns="logits", errors="ignore"))
    if parse_view(view).joint:
        return
    part = measured(view, slice(9, 30)).frame[:21]
    for name in {*own_columns(part), *PREDICTION_COLUMNS} & {*part.columns}:
        assert part[name].equals(expected[name][9:30].reset_index(drop=True))


@pytest.mark.parametrize("view", VIEWS)
def test_the_model_and_the_images_stay_as_they_are(view):
    one = subject(shape=SHAPES.get(view, SHAPE))
    before = [tensor.clone() for tensor in (*one.batch, *one.model.state_dict().values())]
    list(parse_view(view).measure(one, Stream.seeded(0)))
    assert all(map(torch.equal, before, (*one.batch, *one.model.state_dict().values())))
    assert not one.model.training
    assert all(parameter.grad is None for parameter in one.model.parameters())


@pytest.mark.parametrize("view", VIEWS)
def test_logits_that_are_no_numbers_are_the_users_to_mend(view):
    class Broken(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :4] * torch.nan

    with pytest.raises(InputError, match="logits: must be finite, but are NaN or infinite for 50 of 50 images"):
        measured(view, model=Broken())
