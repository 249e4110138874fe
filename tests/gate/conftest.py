from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import robusteval
from robusteval.core.types import Estimate, Predictions
from robusteval.data import DATA
from robusteval.engine.suite import Group, Suite
from robusteval.gate.sides import Entry, Rows, Side, read_report
from robusteval.metrics import measurable
from robusteval.models import ARCHITECTURES
from robusteval.models.checkpoint import Card, save
from robusteval.models.classifier import Classifier

REPORT = Path(__file__).parents[2] / "reports" / "fashion-mnist"
MakeSide = Callable[..., Side]


@pytest.fixture(scope="session")
def bundled() -> Side:
    """The committed report."""
    return read_report(REPORT)


@pytest.fixture(scope="session")
def only(bundled: Side) -> Callable[..., Side]:
    """Some models of the committed report."""

    def chosen(*models: str) -> Side:
        return replace(bundled, entries=tuple(entry for entry in bundled.entries if entry.model in models))

    return chosen


@pytest.fixture(scope="session")
def make_side() -> MakeSide:
    """A side in memory."""

    def make(views: Mapping[str, Predictions], model: str = "net", name: str = "side", seed: int = 0) -> Side:
        return Side(name, seed, "tests", tuple(entry(model, view, found) for view, found in views.items()))

    return make


def entry(model: str, view: str, found: Predictions) -> Entry:
    values = {name: metric(found) for name, metric in measurable(found).items()}
    estimates = {name: Estimate(value, value, value) for name, value in values.items()}
    rows = Rows(found.samples, found.correct, found)
    return Entry(model, view, len(found), f"digest of {len(found)} from {found.samples[0]}", estimates, lambda _: rows)


@pytest.fixture(scope="session")
def make_predictions() -> Callable[..., Predictions]:
    """Predictions that are right at a rate, with confidences to match; each seed is another model."""

    def make(n: int = 1000, right: float = 0.9, seed: int = 0, first: int = 0) -> Predictions:
        generator = np.random.default_rng(seed)
        labels = generator.integers(0, 10, n)
        logits = generator.normal(0, 1, (n, 10))
        hit = generator.random(n) < right
        logits[np.arange(n), np.where(hit, labels, (labels + 1) % 10)] += 5
        return Predictions.from_logits(logits.astype(np.float32), labels, np.arange(first, first + n))

    return make


@pytest.fixture(scope="session")
def measured_curve(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small report of one attack at two radii."""
    folder = tmp_path_factory.mktemp("curve")
    split = DATA.parse("digits").split("test")
    network = ARCHITECTURES.parse("small-cnn").initialised(split.shape, len(split.classes), 0)
    card = Card(architecture="small-cnn", classes=split.classes, shape=split.shape, data="digits")
    save(folder / "net.safetensors", Classifier(network), card)
    suite = Suite(name="curve", views=(Group(specs=("pgd(eps=[4/255, 16/255], steps=2)",)),))
    robusteval.evaluate(folder / "net.safetensors", suite=suite, samples=60, out=folder / "report")
    return folder / "report"
