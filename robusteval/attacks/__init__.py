"""Layer 3: attacks, one per module, and the one loop that runs them."""

from robusteval.attacks.attack import Attack, Cascade, Search
from robusteval.attacks.drive import AttackOutcome, Passes, drive
from robusteval.core.component import Registry

ATTACKS: Registry[Attack] = Registry("attack", Attack, __name__)

__all__ = ["ATTACKS", "Attack", "AttackOutcome", "Cascade", "Passes", "Search", "drive"]
