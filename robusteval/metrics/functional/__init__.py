"""The arithmetic of metrics: pure functions of arrays in float64, one step each."""
