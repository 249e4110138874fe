"""Layer 5: recipes and the one training loop."""

from robusteval.training.recipe import Recipe
from robusteval.training.trainer import Training

__all__ = ["Recipe", "Training"]
