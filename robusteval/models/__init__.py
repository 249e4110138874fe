"""Layer 2: architectures, one per module, and how checkpoints are read and written."""

from robusteval.core.component import Registry
from robusteval.models.architecture import Architecture

ARCHITECTURES: Registry[Architecture] = Registry("architecture", Architecture, __name__)

__all__ = ["ARCHITECTURES", "Architecture"]
