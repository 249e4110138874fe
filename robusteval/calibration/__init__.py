"""Layer 3: recalibration, one method per module."""
