"""Layer 4: training variants, one per module."""

from robusteval.core.component import Registry
from robusteval.variants.variant import InputMixer, MixedBatch, Variant

VARIANTS: Registry[Variant] = Registry("variant", Variant, __name__)

__all__ = ["VARIANTS", "InputMixer", "MixedBatch", "Variant"]
