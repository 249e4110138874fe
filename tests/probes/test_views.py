"""Clean, corrupted and attacked views agree with a direct pass; views that do not parse are answered well."""

import numpy as np
import pytest
import torch
from torch import nn

from robusteval.attacks import ATTACKS, drive
from robusteval.attacks.oracle import predict
from robusteval.core.errors import InputError, SpecError
from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.corruptions import CORRUPTIONS
from robusteval.probes import parse_view
from robusteval.probes.probe import EXAMPLES, Shared

IDS = torch.arange(40)
RANDOM = Stream.seeded(0)
X, Y = RANDOM.integers(IDS, (3, 32, 32), 0, 256) / 255, IDS % 4


@pytest.fixture(scope="module")
def network():
    linear = nn.Linear(3072, 4).requires_grad_(False)
    linear.weight.copy_(RANDOM.normal(IDS[:4], (3072,)) / 30)
    return nn.Sequential(nn.Flatten(), linear)


def changed(view, network):
    """The view's images, made without a probe."""
    if view == "clean":
        return X
    if "@" in view:
        return CORRUPTIONS.parse(view[:-2])(X, int(view[-1]), IDS, RANDOM)
    return drive(ATTACKS.parse(view), network, Batch(X, Y, IDS), RANDOM).inputs


@pytest.mark.parametrize("view", ["clean", "gaussian-noise@1", "fog@5", "fgsm(eps=2/255)", "pgd(eps=0.5, norm='l2')"])
def test_a_view_agrees_with_a_direct_pass(subject, network, view):
    (measurement,) = parse_view(view).measure(subject(network, X, Y), RANDOM)
    frame, images = measurement.frame, changed(view, network)
    logits = predict(network, images, 64).numpy()
    assert np.array_equal(np.stack(frame["logits"]), logits)
    assert (frame["prediction"] == logits.argmax(axis=1)).all()
    assert (frame["correct"] == (frame["prediction"] == frame["label"])).all()
    if view != "clean":
        rows = (images != X).flatten(1).any(dim=1).nonzero()[:EXAMPLES, 0]
        assert torch.equal(measurement.examples["sample"], IDS[rows])
        clean, moved = (measurement.examples[name] for name in ("clean", "changed"))
        assert torch.equal(clean / 255 if clean.dtype == torch.uint8 else clean, X[rows])
        assert (moved.dtype == torch.uint8) is ("@" in view)  # corruptions are rounded to 8 bits
        assert torch.equal(moved / 255 if moved.dtype == torch.uint8 else moved, images[rows])
    if "(" in view:
        delta = (images - X).flatten(1)
        np.testing.assert_allclose(frame["linf"], delta.abs().amax(dim=1), rtol=1e-5)
        np.testing.assert_allclose(frame["l2"], delta.norm(dim=1), rtol=1e-5)
        assert (frame["steps_to_break"].isna() == frame["correct"]).all()


def test_a_corrupted_batch_is_made_once_for_all_models():
    shared, made = Shared(), []
    for key in ("a", "a", "b", "a"):
        shared.get(key, lambda: made.append(1) or X)
    assert len(made) == 3


@pytest.mark.parametrize(
    ("view", "kind", "text"),
    [("clean", "clean", None), ("fog@3", "corruption", None), ("pgd(eps=8/255)", "attack", "8/255")],
)
def test_trust_r2_a_view_keeps_what_was_written(view, kind, text):
    probe = parse_view(view)
    assert (probe.spec, probe.facets.kind) == (view, kind)
    assert probe.facets.eps is None if text is None else repr(probe.facets.eps) == text


@pytest.mark.parametrize(
    ("view", "error", "message"),
    [
        ("fog", SpecError, "a corruption needs its severity, as in fog@3"),
        ("fog@", SpecError, "expected name"),
        ("fog@three", SpecError, "expected name"),
        ("fog@\N{SUPERSCRIPT THREE}", SpecError, "expected name"),
        ("fog@0", InputError, "severity=0: must be in 1..5, as in fog@1"),
        ("fog@6", InputError, "severity=6: must be in 1..5, as in fog@1"),
        ("fogg@3", SpecError, "did you mean 'fog'?"),
        ("gaussian-nose", SpecError, "did you mean 'gaussian-noise@3'"),
        ("pdg(eps=8/255, steps=100)", SpecError, "did you mean 'pgd'?"),
        ("pgd", SpecError, "pgd needs eps"),
        ("pgd(eps=8/255, stepz=2)", SpecError, "pgd has no parameter 'stepz'; did you mean 'step' or 'steps'?"),
        ("clena", SpecError, "did you mean 'clean'?"),
        ("linearity(epsilon=8/255)", SpecError, "no parameter 'epsilon'; did you mean 'eps'"),
        ("linearity(eps=8)", InputError, "must be above 0 and at most 1"),
        ("@3", SpecError, "expected name"),
    ],
)
def test_a_view_that_does_not_parse_is_answered_with_the_nearest(view, error, message):
    with pytest.raises(error) as caught:
        parse_view(view)
    assert message in str(caught.value)


@pytest.mark.parametrize("view", ["attacked(attack='pgd')", "corrupted", "corrupted(corruption='fog', severity=3)"])
def test_a_view_is_not_named_after_its_machinery(view):
    with pytest.raises(SpecError, match="unknown view") as caught:
        parse_view(view)
    assert "'attacked'" not in str(caught.value).split(":", 1)[1].partition(":")[2]
    assert "did you mean 'corrupted'" not in str(caught.value)
