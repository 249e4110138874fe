"""Layer 1: what every other room stands on and nothing in it knows a model."""
