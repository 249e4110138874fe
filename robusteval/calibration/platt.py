"""Platt scaling: a logistic curve of the log-odds (Platt 1999, "Probabilistic outputs for support vector machines")."""

from dataclasses import dataclass
from typing import ClassVar

from robusteval.calibration.one_vs_rest import Binary, OneVsRest


@dataclass(frozen=True)
class Platt(OneVsRest):
    """A slope and an intercept for the log-odds of every class."""

    name: ClassVar[str] = "platt"

    def binary(self) -> Binary:
        """Netcal's logistic calibration of one probability."""
        from netcal.scaling import LogisticCalibration

        calibrator: Binary = LogisticCalibration()
        return calibrator
