"""Layer 5: recipes and the one training loop."""

from robusteval.training.recipe import Recipe
from robusteval.training.trainer import Desk, Trained, Training

__all__ = ["Desk", "Recipe", "Trained", "Training"]
