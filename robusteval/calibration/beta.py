"""Beta scaling: a likelihood ratio of two beta distributions (Kull, Silva Filho and Flach 2017, "Beta calibration")."""

from dataclasses import dataclass
from typing import ClassVar

from robusteval.calibration.one_vs_rest import Binary, OneVsRest


@dataclass(frozen=True)
class Beta(OneVsRest):
    """Log-odds a ln p - b ln(1 - p) + c with a, b >= 0 for every class."""

    name: ClassVar[str] = "beta"

    def binary(self) -> Binary:
        """Netcal's beta calibration of one probability."""
        from netcal.scaling import BetaCalibration

        calibrator: Binary = BetaCalibration()
        return calibrator
