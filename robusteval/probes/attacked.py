"""Attacked views, `pgd(eps=8/255, steps=20)`: the worst point an attack finds in the ball around each sample."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from robusteval.attacks import ATTACKS, Attack, drive
from robusteval.core.component import Component
from robusteval.core.rng import Stream
from robusteval.probes.probe import Facets, Measurement, Probe, Subject, examples
from robusteval.results.store import Facts


@dataclass(frozen=True)
class Attacked(Probe):
    """Predictions of the original model on attacked images."""

    name: ClassVar[str] = "attacked"
    version: ClassVar[int] = 2

    attack: str

    @property
    def spec(self) -> str:
        """The attack's spec."""
        return self._attack.spec

    @property
    def facets(self) -> Facets:
        """An attack in a ball."""
        attack = self._attack
        return Facets(
            "attack", attack.name, eps=attack.radius, norm=attack.norm, grade=attack.grade, radii=attack.radii
        )

    @property
    def components(self) -> tuple[Component, ...]:
        """This probe and the attack."""
        return (self, self._attack)

    @property
    def depends(self) -> str:
        """What the attack depends on."""
        return self._attack.depends

    def measure(self, subject: Subject, rng: Stream) -> Iterator[Measurement]:
        """Run the attack."""
        attack = self._attack
        outcome = drive(attack, subject.form, subject.batch, rng, subject.model, subject.passes)
        frame = subject.frame(outcome.logits)
        for name in ("steps_to_break", "linf", "l2"):
            frame[name] = getattr(outcome, name).cpu().numpy().astype("float64")
        if len(attack.radii) > 1 or any(search.goal == "distance" for search in attack.searches):
            frame["distance"] = outcome.distance.cpu().numpy()
        if subject.keep_images:
            rounded = subject.logits(outcome.inputs.mul(255).round().div(255))
            frame["accuracy_8bit"] = (rounded.argmax(dim=1) == subject.batch.y).cpu().numpy().astype("float64")
        kept = outcome.inputs if subject.keep_images else None
        facts = Facts(outcome.forwards, outcome.backwards, outcome.signs, outcome.notes)
        yield Measurement(self.spec, frame, facts, examples(subject.batch.x, outcome.inputs, subject), kept)

    @property
    def _attack(self) -> Attack:
        return ATTACKS.parse(self.attack)
