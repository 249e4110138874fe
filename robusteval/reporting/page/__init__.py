"""The page of a report: everything in one HTML file that people open, sort, switch and print."""

from robusteval.reporting.page.render import NAME, render, write

__all__ = ["NAME", "render", "write"]
