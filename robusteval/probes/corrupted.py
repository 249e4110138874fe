"""Corrupted views, `fog@3`: a corruption at a severity (Hendrycks and Dietterich 2019, arXiv:1903.12261)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from robusteval.core.component import Component
from robusteval.core.errors import require
from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS, Corruption
from robusteval.probes.probe import Facets, Measurement, Probe, Subject, examples
from robusteval.results.store import Facts


@dataclass(frozen=True)
class Corrupted(Probe):
    """Predictions on corrupted images, which are made once for all models."""

    name: ClassVar[str] = "corrupted"

    corruption: str
    severity: int

    def __post_init__(self) -> None:
        limit = self._corruption.severities
        require(
            1 <= self.severity <= limit, "severity", f"must be in 1..{limit}, as in {self.corruption}@1", self.severity
        )

    @property
    def spec(self) -> str:
        """The corruption and its severity."""
        return f"{self._corruption.spec}@{self.severity}"

    @property
    def facets(self) -> Facets:
        """A corruption of a severity."""
        return Facets("corruption", self._corruption.name, severity=self.severity, origin="generated")

    @property
    def components(self) -> tuple[Component, ...]:
        """This probe and the corruption."""
        return (self, self._corruption)

    def remark(self, shape: tuple[int, ...]) -> str | None:
        """A family's name where it is meant for images of another size."""
        return self._corruption.misfit(max(shape[1:]))

    def measure(self, subject: Subject, rng: Stream) -> Iterator[Measurement]:
        """Corrupt, then one forward pass."""
        x, _, ids = subject.batch
        key = (self.spec, rng, subject.data)
        changed = subject.shared.get(key, lambda: self._corruption(x, self.severity, ids, rng))
        frame = subject.frame(subject.logits(changed))
        yield Measurement(self.spec, frame, Facts(forwards=len(frame)), examples(x, changed, subject))

    @property
    def _corruption(self) -> Corruption:
        return CORRUPTIONS.parse(self.corruption)
