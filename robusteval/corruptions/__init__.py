"""Layer 2: corruptions, one per module, in batched torch code."""

from robusteval.core.component import Registry
from robusteval.corruptions.corruption import Corruption

CORRUPTIONS: Registry[Corruption] = Registry("corruption", Corruption, __name__)

__all__ = ["CORRUPTIONS", "Corruption"]
