"""The contract of a plot: what it draws of a record as frames, and each frame as a figure."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import pandas as pd

from robusteval.core.component import Component, Registry
from robusteval.reporting import pictures
from robusteval.reporting.plots.record import Record

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Plot(Component):
    """One kind of picture of a report.

    Attributes:
        title: the heading over its figures.
        about: what a reader must know to read them, a sentence or two.
        order: of the plots of a page, the first of the smallest number.
    """

    title: ClassVar[str]
    about: ClassVar[str]
    order: ClassVar[int] = 100

    @abstractmethod
    def frames(self, record: Record) -> dict[str, pd.DataFrame]:
        """Tidy data by the name of their figure, which a reader sees; nothing where the record has nothing to show."""

    @abstractmethod
    def static(self, name: str, frame: pd.DataFrame) -> "Figure":
        """A frame as a figure for print."""


@dataclass(frozen=True)
class Chart(Plot):
    """A plot of numbers, which a page draws with plotly."""

    @abstractmethod
    def interactive(self, name: str, frame: pd.DataFrame) -> "go.Figure":
        """A frame as a figure for a page; it names no template and no background, which are the page's."""


@dataclass(frozen=True)
class Gallery(Plot):
    """A plot of pictures: its frames have a row per picture, with the columns of `robusteval.reporting.pictures`.

    A page shows `image`, a PNG file as bytes, with its `caption` in a table of `row` by `column`.
    """

    def static(self, name: str, frame: pd.DataFrame) -> "Figure":
        """The table of pictures."""
        return pictures.sheet(frame, f"{self.title}\n{name}")


PLOTS: Registry[Plot] = Registry("plot", Plot, "robusteval.reporting.plots")


def ordered() -> Sequence[Plot]:
    """Every plot in the order of a page."""
    return sorted((PLOTS.parse(name) for name in PLOTS.classes), key=lambda plot: (plot.order, plot.name))
