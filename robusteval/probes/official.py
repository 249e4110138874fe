"""Views of stored corrupted images, `official:fog@3`, as CIFAR-10-C has them (Hendrycks and Dietterich 2019)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from robusteval.core.component import Component
from robusteval.core.errors import InputError, require
from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS, Corruption
from robusteval.probes.probe import Facets, Measurement, Probe, Subject, examples
from robusteval.results.store import Facts


@dataclass(frozen=True)
class Official(Probe):
    """Predictions on corrupted images that are read from disk, out of the folder that the run is given."""

    name: ClassVar[str] = "official"

    corruption: str
    severity: int

    def __post_init__(self) -> None:
        corruption, limit = self._corruption, self._corruption.severities
        rule = "a stored set has constants of its own: name none, or 'mnist-c' for the one severity of MNIST-C"
        require(corruption.family in (None, "mnist-c"), "family", rule, corruption.family)
        example = f"must be in 1..{limit}, as in {self.name}:{corruption.spec}@1"
        require(1 <= self.severity <= limit, "severity", example, self.severity)

    @property
    def spec(self) -> str:
        """The corruption and its severity, with the word official in front."""
        return f"{self.name}:{self._corruption.spec}@{self.severity}"

    @property
    def facets(self) -> Facets:
        """A corruption of a severity."""
        return Facets("corruption", self._corruption.name, severity=self.severity, origin="official")

    @property
    def components(self) -> tuple[Component, ...]:
        """This probe: the corruption's own code has no part in it."""
        return (self,)

    @property
    def place(self) -> tuple[str, int, int]:
        """What to look for: corruption, severity, number of severities."""
        return self._corruption.name, self.severity, self._corruption.severities

    def measure(self, subject: Subject, rng: Stream) -> Iterator[Measurement]:
        """Read, then one forward pass."""
        stored = subject.stored
        if stored is None:
            raise InputError(f"{self.spec}: needs the folder of the stored set: name it with --official")
        changed = subject.shared.get((self.spec, subject.data), lambda: stored(*self.place))
        frame = subject.frame(subject.logits(changed))
        facts = Facts(forwards=len(frame))
        yield Measurement(self.spec, frame, facts, examples(subject.batch.x, changed, subject))

    @property
    def _corruption(self) -> Corruption:
        return CORRUPTIONS.parse(self.corruption)
