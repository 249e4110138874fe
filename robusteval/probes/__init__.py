"""Layer 4: probes, one per module, and the views a suite may name."""

from robusteval.attacks import ATTACKS
from robusteval.core.component import Registry
from robusteval.core.errors import SpecError, nearest
from robusteval.core.spec import Spec
from robusteval.corruptions import CORRUPTIONS
from robusteval.probes.attacked import Attacked
from robusteval.probes.corrupted import Corrupted
from robusteval.probes.official import Official
from robusteval.probes.probe import Measurement, Probe, Subject

PROBES: Registry[Probe] = Registry("probe", Probe, __name__)


def parse_view(text: str) -> Probe:
    """The probe of a view: `fog@3` is corrupted, `official:fog@3` stored, `pgd(eps=8/255)` attacked, else a probe's.

    Raises:
        SpecError: no corruption, attack or probe has that name, or a parameter does not fit.
    """
    corruption, at, severity = text.rpartition("@")
    if at and severity.isdecimal():
        provider, colon, stored = corruption.partition(":")
        if colon and provider.strip() == Official.name:
            return Official(stored.strip(), int(severity))
        return Corrupted(corruption, int(severity))
    parsed = Spec.parse(text)
    name = parsed.provider or parsed.name
    if name in ATTACKS:
        return Attacked(ATTACKS.parse(text).spec)
    probes = PROBES.classes.keys() - {Attacked.name, Corrupted.name, Official.name}
    if name in probes:
        return PROBES.parse(text)
    if name in CORRUPTIONS:
        raise SpecError(f"view {text!r}: a corruption needs its severity, as in {text}@3")
    known = [*ATTACKS.classes, *probes, *(f"{corruption}@3" for corruption in CORRUPTIONS.classes)]
    raise SpecError(f"unknown view {text!r}: {nearest(name, known)}")


__all__ = ["PROBES", "Measurement", "Probe", "Subject", "parse_view"]
