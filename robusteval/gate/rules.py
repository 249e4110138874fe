"""What the gate looks at and how much it lets pass, as a TOML file may say it."""

import re
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from robusteval.core import config
from robusteval.core.errors import InputError
from robusteval.metrics import METRICS

Grade = Literal["A", "B", "quick", "C"]


class Gate(BaseModel):
    """Rows that are gated in the same way.

    Attributes:
        views: patterns of views, in which `*` stands for anything and `?` for one character.
        metrics: names as in the record, such as `accuracy`, `ece`, `nll`, `gamma`.
        margin: how much worse, in the metric's own unit, is no regression yet; 0.01 is a point of accuracy.
        better: which direction is better, for a metric that is not a registered one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    views: tuple[str, ...] = Field(default=("*",), min_length=1)
    metrics: tuple[str, ...] = Field(min_length=1)
    margin: float = Field(default=0.01, ge=0, allow_inf_nan=False)
    better: Literal["higher", "lower"] | None = None

    @model_validator(mode="after")
    def _directions(self) -> Self:
        unknown = [name for name in self.metrics if name not in METRICS.classes]
        if unknown and self.better is None:
            raise ValueError(f"{unknown[0]!r} is no registered metric: say better = 'higher' or better = 'lower'")
        return self

    def holds(self, view: str, metric: str) -> bool:
        """Whether a row is one of these."""
        return metric in self.metrics and any(_matches(pattern, view) for pattern in self.views)

    def sign(self, metric: str) -> int:
        """1 where a larger value is worse, -1 where it is better."""
        higher = self.better == "higher" if self.better else METRICS.classes[metric].higher_is_better
        return -1 if higher else 1


DEFAULT_GATES = (Gate(metrics=("accuracy",)), Gate(views=("clean",), metrics=("ece",)))
"""The accuracy of every view, within a point; and the calibration of the clean one."""


class Rules(BaseModel):
    """How the gate decides.

    Attributes:
        level: chance of a false alarm that is accepted, over all rows together; 1 - level is that of the intervals.
        minimum_n: rows of fewer samples are not decided.
        grades: an attacked view of another grade passes never: its number is potentially unreliable.
        gates: what is compared; of several that hold a row, the first decides.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: float = Field(default=0.05, gt=0, lt=0.5)
    minimum_n: int = Field(default=1, ge=1)
    grades: tuple[Grade, ...] = ("A", "B", "quick")
    gates: tuple[Gate, ...] = Field(default=DEFAULT_GATES, min_length=1)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read rules from a TOML file.

        Raises:
            InputError: the file is missing, does not parse, or has an unknown key or value; the line is named.
        """
        if not path.is_file():
            raise InputError(f"rules={str(path)!r}: there is no such file")
        return config.read(path, cls)

    def gate(self, view: str, metric: str) -> Gate | None:
        """The gate that a row passes, if any."""
        return next((gate for gate in self.gates if gate.holds(view, metric)), None)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Every metric that some gate holds, in order."""
        return tuple(dict.fromkeys(name for gate in self.gates for name in gate.metrics))


def _matches(pattern: str, view: str) -> bool:
    """Whether a view is of a pattern; brackets are themselves, as specs have them.

    >>> _matches("pgd(eps=(*", "pgd(eps=(1/255, 2/255))"), _matches("fog@?", "fog@3"), _matches("fog", "fog@3")
    (True, True, False)
    """
    parts = (".*" if part == "*" else "." if part == "?" else re.escape(part) for part in re.split(r"([*?])", pattern))
    return re.fullmatch("".join(parts), view) is not None
