"""What a worker refuses to store."""

from collections.abc import Iterator

import pytest
import torch

import robusteval
from robusteval.core.rng import Stream
from robusteval.engine.suite import Group, Suite
from robusteval.probes.clean import Clean
from robusteval.probes.probe import Measurement, Subject


@pytest.mark.parametrize("views", [(), ("clean", "clean"), ("dirty",)])
def test_a_probe_that_does_not_yield_its_one_view_fails_its_cell(views, monkeypatch):
    def measure(self, subject: Subject, rng: Stream) -> Iterator[Measurement]:
        frame = subject.frame(subject.logits(subject.batch.x))
        return iter([Measurement(view, frame) for view in views])

    monkeypatch.setattr(Clean, "measure", measure)
    suite = Suite(name="one", views=(Group(specs=("clean",)),))
    with pytest.warns(RuntimeWarning, match="must yield this one view"):
        report = robusteval.evaluate(
            lambda x: x.flatten(1)[:, :4], (torch.rand(20, 1, 8, 8), torch.arange(20) % 4), suite
        )
    assert report.metrics["error"].str.contains("must yield this one view").all()
