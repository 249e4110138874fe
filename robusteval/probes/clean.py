"""The clean view: the images as they are, without which no robust accuracy is read (TRUST R30)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from robusteval.core.rng import Stream
from robusteval.probes.probe import Measurement, Probe, Subject
from robusteval.results.store import Facts


@dataclass(frozen=True)
class Clean(Probe):
    """Predictions on unchanged images."""

    name: ClassVar[str] = "clean"

    def measure(self, subject: Subject, rng: Stream) -> Iterator[Measurement]:
        """One forward pass."""
        frame = subject.frame(subject.logits(subject.batch.x))
        yield Measurement(self.spec, frame, Facts(forwards=len(frame)))
