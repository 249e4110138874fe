"""Plots of a report, one per module: the same data as a static figure for papers and as one to play with in a page."""

from robusteval.reporting.plots.plot import PLOTS, Chart, Gallery, Plot
from robusteval.reporting.plots.record import Record
from robusteval.reporting.plots.write import write

__all__ = ["PLOTS", "Chart", "Gallery", "Plot", "Record", "write"]
