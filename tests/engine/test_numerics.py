"""Coarser gradients, compiled forms, kept images, and curves in the record."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import robusteval
from robusteval.core.errors import InputError
from robusteval.core.statistics import wilson
from robusteval.engine.suite import Group, Suite

SPEC = "pgd(eps=16/255, steps=5)"
CURVE = "pgd(eps=[4/255, 8/255, 16/255], steps=5)"


def images(n=48):
    x = torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return x, network()(x).argmax(dim=1)


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 3)).eval()


def suite(*specs):
    return Suite(name="tiny", views=(Group(specs=specs),))


@pytest.fixture
def eager(monkeypatch):
    """Compiling without a compiler, and what was asked for."""
    asked, real = [], torch.compile

    def compile(module, **options):
        asked.append(options)
        return real(module, backend="eager", **options)

    monkeypatch.setattr(torch, "compile", compile)
    return asked


def test_a_compiled_form_finds_the_same_and_sees_one_shape(eager):
    plain, found = (robusteval.attack(network(), *images(), SPEC, compile=compile) for compile in (False, True))
    assert eager == [{"dynamic": False}]
    assert torch.equal(found.broken, plain.broken)
    assert 3 < int(found.broken.sum()) < 48


def test_what_cannot_be_compiled_is_said(monkeypatch):
    def fail(form, **options):
        def call(x):
            raise RuntimeError("no compiler\nat all")

        return call

    monkeypatch.setattr(torch, "compile", fail)
    with pytest.raises(InputError, match=r"^compile: torch cannot compile this model here, leave it out: no compiler$"):
        robusteval.attack(network(), *images(), SPEC, compile=True)


def test_what_is_compiled_wrongly_is_refused(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda form, **options: lambda x: 2 * form(x))
    with pytest.raises(InputError, match="other logits or gradients"):
        robusteval.attack(network(), *images(), SPEC, compile=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gradients": "fp16"}, "gradients='fp16': must be one of float32, tf32, bf16"),
        ({"gradients": "tf32"}, "gradients='tf32': tf32 is of CUDA devices; use float32 or bf16"),
        ({"save_adversarial": "jpg"}, "save_adversarial='jpg': must be npz or png"),
    ],
)
def test_other_numerics_are_refused(options, message):
    with pytest.raises(InputError) as caught:
        robusteval.evaluate(network(), images(), suite(SPEC), **options)
    assert str(caught.value) == message


def test_coarse_gradients_are_cells_of_their_own(tmp_path):
    reports = [
        robusteval.evaluate(network(), images(), suite(SPEC), gradients=gradients, out=tmp_path / gradients)
        for gradients in ("float32", "bf16")
    ]
    cells = [report.cells["digest"].tolist() for report in reports]
    assert cells[0] != cells[1]
    values = [accuracy(report, SPEC) for report in reports]
    assert abs(values[0] - values[1]) <= 2 / 48


def accuracy(report, view):
    rows = report.metrics.query("view == @view and metric == 'accuracy'")
    return float(rows["value"].iloc[-1])


@pytest.mark.parametrize("kind", ["npz", "png"])
def test_trust_r7_kept_images_and_their_accuracy_in_8_bits(kind, tmp_path: Path):
    model, (x, y) = network(), images()
    report = robusteval.evaluate(model, (x, y), suite("clean", SPEC), save_adversarial=kind, out=tmp_path)
    folders = list((tmp_path / "adversarial").iterdir())
    assert [folder.name for folder in folders] == report.cells.query("view == @SPEC")["cell"].tolist()
    if kind == "npz":
        with np.load(folders[0] / "000000.npz") as arrays:
            assert arrays["samples"].tolist() == list(range(48))
            kept = torch.from_numpy(arrays["images"])
        assert torch.equal(kept, robusteval.attack(model, x, y, SPEC).inputs)
        kept = (kept * 255).round() / 255
    else:
        pictures = [np.asarray(Image.open(folders[0] / f"{sample:06d}.png")) for sample in range(48)]
        kept = torch.from_numpy(np.stack(pictures))[:, None] / 255
    assert (kept - x).abs().max() <= 16 / 255 + 0.5 / 255 + 1e-6
    with torch.no_grad():
        rate = (model(kept).argmax(dim=1) == y).double().mean().item()
    found = report.metrics.query("view == @SPEC and metric == 'accuracy_8bit'")["value"].item()
    assert found == pytest.approx(rate)
    assert "accuracy_8bit" not in report.metrics.query("view == 'clean'")["metric"].tolist()


def test_a_curve_has_a_row_of_accuracy_for_each_radius():
    report = robusteval.evaluate(network(), images(), suite("clean", CURVE))
    view = report.cells["view"].iloc[1]
    assert view == "pgd(eps=(4/255, 8/255, 16/255), steps=5)"
    rows = report.metrics.query("view == @view and metric == 'accuracy'")
    assert rows["eps_text"].tolist() == ["4/255", "8/255", "16/255"]
    assert rows["eps"].tolist() == [4 / 255, 8 / 255, 16 / 255]
    distance = report.samples.query("view == @view")["distance"]
    for row in rows.itertuples():
        robust = int((distance > row.eps).sum())
        assert (row.value, row.low, row.high) == pytest.approx(wilson(robust, 48))
    assert rows["value"].is_monotonic_decreasing
    assert rows["value"].iloc[0] > rows["value"].iloc[-1]
    median = report.metrics.query("view == @view and metric == 'median-distance'").iloc[0]
    assert median["value"] == np.median(distance)
    assert median["low"] <= median["value"] <= median["high"]
    assert "distance" not in report.metrics["metric"].tolist()


def test_a_median_may_be_infinite():
    report = robusteval.evaluate(network(), images(), suite("pgd(eps=[0, 0.001/255])"))
    assert math.isinf(report.metrics.query("metric == 'median-distance'")["value"].item())
