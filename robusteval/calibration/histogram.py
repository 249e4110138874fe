"""Histogram binning: the rate of each equal-width bin (Zadrozny and Elkan 2001); an empty bin gives its middle."""

from dataclasses import dataclass
from typing import ClassVar

from robusteval.calibration.one_vs_rest import Binary, OneVsRest
from robusteval.core.errors import require


@dataclass(frozen=True)
class Histogram(OneVsRest):
    """The rate of `bins` equal-width bins for every class."""

    name: ClassVar[str] = "histogram"

    bins: int = 15

    def __post_init__(self) -> None:
        require(self.bins >= 1, "bins", "must be at least 1", self.bins)

    def binary(self) -> Binary:
        """Netcal's histogram binning of one probability."""
        from netcal.binning import HistogramBinning

        calibrator: Binary = HistogramBinning(self.bins)
        return calibrator
