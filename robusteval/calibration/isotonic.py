"""Isotonic regression: the rising steps of least squares (Zadrozny and Elkan 2002)."""

from dataclasses import dataclass
from typing import ClassVar

from robusteval.calibration.one_vs_rest import Binary, OneVsRest


@dataclass(frozen=True)
class Isotonic(OneVsRest):
    """A rising step function of the probability of every class."""

    name: ClassVar[str] = "isotonic"

    def binary(self) -> Binary:
        """Netcal's isotonic regression of one probability."""
        from netcal.binning import IsotonicRegression

        calibrator: Binary = IsotonicRegression()
        return calibrator
