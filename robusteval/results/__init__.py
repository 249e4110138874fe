"""Layer 2: the record of a run: its columns, its folder, and what Python sees of it."""
