"""Signs that show side by side: each attack is fine alone."""

from pathlib import Path

import numpy as np
import pytest
import torch

import robusteval
from robusteval.attacks import ATTACKS
from robusteval.engine.crosscheck import Verdicts, crossed, marked
from robusteval.engine.suite import Group, Suite

N = 200
CORRECT = np.arange(N) < 180


def left(spec, robust, key=None, subset="s", model="m", correct=CORRECT):
    """An attack that leaves the first samples."""
    which = np.isin(np.arange(N), robust) if isinstance(robust, list) else np.arange(N) < robust
    return Verdicts(key or spec, model, ATTACKS.parse(spec), subset, which, correct, 10)


@pytest.mark.parametrize(("large", "raised"), [(100, False), (102, False), (103, True), (50, False)])
def test_trust_r10_a_larger_ball_leaves_no_more(large, raised):
    small, big = left("pgd(eps=1/255)", 100), left("pgd(eps=2/255)", large)
    assert crossed([small, big]) == ({"pgd(eps=2/255)": ("not-monotone",)} if raised else {})
    other_steps = left("pgd(eps=1/255, steps=5)", 100)
    assert crossed([other_steps, big]) == {}


@pytest.mark.parametrize(("iterative", "raised"), [(90, False), (92, False), (93, True)])
@pytest.mark.parametrize("spec", ["pgd(eps=1/255)", "autoattack(eps=1/255)"])
def test_trust_r10_many_steps_leave_no_more_than_one(spec, iterative, raised):
    verdicts = [left("fgsm(eps=1/255)", 90), left(spec, iterative)]
    assert crossed(verdicts) == ({spec: ("weaker-than-one-step",)} if raised else {})
    assert crossed([left("fgsm(eps=2/255)", 90), verdicts[1]]) == {}
    assert crossed([left("fgsm(eps=1/255)", 90, model="other"), verdicts[1]]) == {}
    assert crossed([left("fgsm(eps=1/255)", 90, subset="other"), verdicts[1]]) == {}


def test_trust_r11_what_a_black_box_breaks_beside_the_white_one():
    white = left("pgd(eps=1/255)", 100)
    for lost, raised in ((2, False), (3, True)):
        black = left("square(eps=1/255)", [*range(lost, 100), *range(100, 190)])
        flags = crossed([white, black])
        assert flags == ({"pgd(eps=1/255)": ("black-box-beats-white-box",)} if raised else {})


@pytest.mark.parametrize(("noise", "raised"), [(150, False), (141, False), (139, True)])
def test_trust_r13_noise_breaks_far_fewer(noise, raised):
    """Gradients break 80 of the 180 that were right; noise 30, 39 and 41."""
    robust = [*range(100, 180)]
    white, black = left("pgd(eps=1/255)", 100), left("noise(eps=1/255)", noise)
    flags = crossed([white, black]).get("pgd(eps=1/255)", ())
    assert ("noise-as-strong" in flags) == raised
    assert len(robust) == 80
    unknown = [left("pgd(eps=1/255)", 100, correct=None), left("noise(eps=1/255)", 139, correct=None)]
    assert "noise-as-strong" not in crossed(unknown).get("pgd(eps=1/255)", ())


@pytest.mark.parametrize(("robust", "raised"), [(0, False), (20, False), (24, False), (25, True)])
def test_trust_r12_an_unbounded_attack_leaves_chance(robust, raised):
    """Of 200 samples in 10 classes chance is 20, and 2% are 4."""
    flags = crossed([left("pgd(eps=1)", robust)])
    assert flags == ({"pgd(eps=1)": ("unbounded-leaves-robust",)} if raised else {})
    assert crossed([left("pgd(eps=1, norm='l2')", robust)]) == {}


def test_a_mark_is_a_grade_c():
    row = {"grade": "A", "flags": None, "value": 1}
    assert marked(row, ()) == row
    assert marked(row, ("x",)) == {"grade": "C", "flags": "x", "value": 1}
    assert marked({**row, "flags": "y, x"}, ("x", "z")) == {"grade": "C", "flags": "y, x, z", "value": 1}
    assert marked({"grade": None, "flags": None}, ("x",)) == {"grade": None, "flags": "x"}


def test_the_record_shows_them(tmp_path: Path):
    """Cross-entropy of a net with an enormous scale: its float32 logits are equal to the last bit, and PGD is blind."""

    class Steps(torch.nn.Module):
        """The sign of the mean decides; its slope points the wrong way."""

        def forward(self, x):
            bright = x.flatten(1).mean(dim=1) - 0.5
            shown = torch.tanh(50 * bright)
            blind = 2 * shown.detach() - shown
            return torch.stack([blind, -blind], dim=1)

    x = torch.rand(60, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    y = (x.flatten(1).mean(dim=1) < 0.5).long()
    views = ("clean", "pgd(eps=0.1, steps=12, random_start=False)", "noise(eps=0.1, draws=50)")
    report = robusteval.evaluate(Steps(), (x, y), Suite(name="x", views=(Group(specs=views),)), out=tmp_path)
    rows = report.metrics.query("metric == 'accuracy'").set_index("view")
    assert "black-box-beats-white-box" in rows.loc[views[1], "flags"]
    assert rows.loc[views[1], "grade"] == "C"
    assert rows.loc[views[2], "grade"] == "quick"
    assert report.metrics.query("view == @views[1]")["flags"].nunique() == 1
