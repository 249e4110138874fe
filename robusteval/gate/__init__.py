"""Layer 6: the gate: did a model get worse than its baseline, as far as the samples can tell?"""
