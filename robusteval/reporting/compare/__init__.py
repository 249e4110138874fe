"""Comparison tables: rows are variants or checkpoints of one or more reports, columns are metrics of views."""

from robusteval.reporting.compare.columns import PRESETS
from robusteval.reporting.compare.pool import Pool
from robusteval.reporting.compare.table import Comparison, compare

__all__ = ["PRESETS", "Comparison", "Pool", "compare"]
