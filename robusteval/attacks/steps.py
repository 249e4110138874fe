"""What attacks of equal steps share: how many, and how long."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from robusteval.attacks.attack import Search, State
from robusteval.attacks.norms import column
from robusteval.core.errors import require


@dataclass(frozen=True)
class Stepping(Search):
    """A search in steps of one length.

    Attributes:
        path: length of all steps together over the radius, where `step` is not given.
        steps: iterations of one start.
        step: size of one step in pixel units; by default path * eps / steps.
    """

    path: ClassVar[float]

    steps: int = 10
    step: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.steps >= 1, "steps", "must be at least 1", self.steps)
        require(self.step is None or 0 < self.step < math.inf, "step", "must be above 0 and finite", self.step)

    @property
    def budget(self) -> int:
        """The steps of one start."""
        return self.steps

    def lengths(self, state: State) -> Tensor:
        """The size of each row's step, [n, 1, 1, 1]."""
        size = self.path * state.eps / self.steps if self.step is None else state.eps.new_full((len(state),), self.step)
        return column(size.to(state.x.dtype))
