"""Sharpness of the loss in weight space: Hessian, and the step of SAM (Foret et al. 2021, arXiv:2010.01412)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import pandas as pd

from robusteval.core.errors import require
from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.models.hessian import LossSurface, top_eigenvalues, trace_forms, unit
from robusteval.probes.probe import Measurement, Probe, Subject
from robusteval.probes.slices import moved, scores
from robusteval.results.store import Facts

ROWS = 128
"""Images of a pass, whatever the batch size, so that sums over the shard have the same bits."""


@dataclass(frozen=True)
class Sharpness(Probe):
    """Curvature of the mean cross-entropy over a shard, in all parameters, told apart by samples.

    `eigenvalue` is v'Hv of the sample's own Hessian H along the top eigenvector v of the shard's, so that its mean is
    the shard's top eigenvalue, `eigenvalue_2` and so on for the next ones; `trace` is the sample's share in the
    estimate of the trace (Hutchinson 1990); `sam` is how much its loss rises at the end of the step of SAM, of length
    rho along the shard's gradient. All in nats, parameters as they are: rescaled weights change them (Dinh et al. 2017,
    arXiv:1703.04933), which `landscape` is made to avoid. Intervals are over samples alone: v, the step and the random
    vectors are held fixed.

    A shard is at most 1,000 consecutive samples; with several of them the values are means over their surfaces.

    Attributes:
        eigenvalues: how many, from the largest down.
        iterations: of the power iteration at most, for each eigenvalue.
        tolerance: relative change of the value at which the iteration ends.
        draws: random vectors of the trace.
        rho: length of the step; 0.05 as in the paper.
    """

    name: ClassVar[str] = "sharpness"
    joint: ClassVar[bool] = True

    eigenvalues: int = 1
    iterations: int = 20
    tolerance: float = 0.001
    draws: int = 2
    rho: float = 0.05

    def __post_init__(self) -> None:
        for field in ("eigenvalues", "iterations", "draws"):
            require(getattr(self, field) >= 1, field, "must be at least 1", getattr(self, field))
        require(0 < self.tolerance < 1, "tolerance", "must be between 0 and 1", self.tolerance)
        require(0 < self.rho < float("inf"), "rho", "must be above 0", self.rho)

    def measure(self, subject: Subject, rng: Stream) -> Iterator[Measurement]:
        """Work on the shard in the order of its ids."""
        order = subject.batch.ids.argsort()
        batch = Batch(*(tensor[order] for tensor in subject.batch))
        home = scores(subject.model, batch, ROWS).loss
        surface, draws = LossSurface.of(subject.model, batch.x, batch.y, ROWS), rng.stream("sharpness")
        top = top_eigenvalues(surface, draws.stream("power"), self.eigenvalues, self.iterations, self.tolerance)
        names = ["eigenvalue", *(f"eigenvalue_{number}" for number in range(2, self.eigenvalues + 1))]
        columns = {name: surface.forms(vector) for name, vector in zip(names, top.vectors, strict=True)}
        columns["trace"] = trace_forms(surface, draws.stream("trace"), self.draws)
        columns["sam"] = scores(moved(subject.model, (self.rho, unit(surface.gradient()))), batch, ROWS).loss - home
        back = order.argsort()
        values = {name: column[back].cpu() for name, column in columns.items()}
        frame = pd.DataFrame({"sample": subject.batch.ids.cpu(), "label": subject.batch.y.cpu(), **values})
        yield Measurement(self.spec, frame, self._facts(len(frame), top.products))

    def _facts(self, n: int, products: int) -> Facts:
        """A product is one pass forward and two back, a form three back."""
        forms = self.eigenvalues + self.draws
        return Facts(n * (3 + products + forms), n * (1 + 2 * products + 3 * forms))
