"""Layer 4: training variants, one per module."""

from robusteval.core.component import Registry
from robusteval.variants.fitting import Fitting
from robusteval.variants.variant import FittedVariant, InputMixer, MixedBatch, NotedLoss, Variant

VARIANTS: Registry[Variant] = Registry("variant", Variant, __name__)

__all__ = ["VARIANTS", "FittedVariant", "Fitting", "InputMixer", "MixedBatch", "NotedLoss", "Variant"]
