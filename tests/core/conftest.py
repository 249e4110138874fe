"""Hypothesis without its clock: a busy machine is not a failure; the same examples in every run."""

from hypothesis import settings

settings.register_profile("core", deadline=None, derandomize=True)
settings.load_profile("core")
