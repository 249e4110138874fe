"""Input gradients around samples: their size, how they turn, and how the loss leaves its tangent at random points.

Gradient alignment is of Andriushchenko and Flammarion (2020, arXiv:2007.02617), curvature of Moosavi-Dezfooli et al.
(2019, arXiv:1811.09716), the error of the tangent of Qin et al. (2019, arXiv:1907.02610).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import pandas as pd
import torch
from torch import Tensor

from robusteval.attacks.norms import NORMS
from robusteval.attacks.oracle import Answer, Oracle, finite
from robusteval.core.errors import require
from robusteval.core.rng import Stream
from robusteval.core.spec import Quotient
from robusteval.probes.probe import Facets, Measurement, Probe, Subject, facts_of


@dataclass(frozen=True)
class Gradients(Probe):
    """Five numbers of each sample, from the cross-entropy l and its input gradient g(x), on the evaluation form.

    `gradient_norm` and `gradient_l1` are |g(x)| in L2 and L1, in nats per pixel unit. For points d drawn uniformly from
    the L-infinity ball, `alignment` is the mean cosine between g(x) and g(x + d), in [-1, 1], and `gamma_random` the
    mean of |l(x + d) - l(x) - d . g(x)|, whose largest value in the ball is `gamma` of the view `linearity`.
    `curvature` is |g(x + h z) - g(x)| / h with z = sign(g(x)) at length 1, a finite difference of the Hessian along z.

    The cosine is 1 where both gradients are 0 and 0 where one is. As for `linearity` the ball is not cut to [0, 1].

    Attributes:
        eps: radius of the ball in pixel units.
        draws: points of the ball per sample.
        h: step of the difference, an L2 length in pixel units; 1.5 as in the paper.
    """

    name: ClassVar[str] = "gradients"

    eps: float = Quotient("8", "255")
    draws: int = 4
    h: float = 1.5

    def __post_init__(self) -> None:
        require(0 < self.eps <= 1, "eps", "must be above 0 and at most 1, as in eps=8/255", self.eps)
        require(self.draws >= 1, "draws", "must be at least 1", self.draws)
        require(0 < self.h < float("inf"), "h", "must be above 0", self.h)

    @property
    def facets(self) -> Facets:
        """A ball."""
        return Facets("gradients", self.name, eps=self.eps, norm="linf")

    def measure(self, subject: Subject, rng: Stream) -> Iterator[Measurement]:
        """Ask for the gradient at the sample, at the random points and at the end of the step, chunk by chunk."""
        oracle, draws = subject.oracle, rng.stream("gradients")
        parts = (torch.split(tensor, subject.passes.batch_size) for tensor in subject.batch)
        found = [self._numbers(oracle, x, y, ids, draws) for x, y, ids in zip(*parts, strict=True)]
        columns = {name: torch.cat([part[name] for part in found]).cpu() for name in found[0]}
        frame = pd.DataFrame({"sample": subject.batch.ids.cpu(), "label": subject.batch.y.cpu(), **columns})
        yield Measurement(self.spec, frame, facts_of(oracle))

    def _numbers(self, oracle: Oracle, x: Tensor, y: Tensor, ids: Tensor, rng: Stream) -> dict[str, Tensor]:
        """The columns of some samples, each [n] float64."""
        here = oracle.gradient(x, y)
        finite(here.logits)
        slope = here.gradient.flatten(1).to(torch.float64)
        drawn = [self._at_random(oracle, here, x, y, ids, rng, draw) for draw in range(self.draws)]
        alignment, errors = (torch.stack(values).mean(dim=0) for values in zip(*drawn, strict=True))
        ahead = oracle.gradient(x + self.h * NORMS["l2"].steepest(here.gradient.sign()), y)
        finite(ahead.logits)
        return {
            "gradient_norm": torch.linalg.vector_norm(slope, dim=1),
            "gradient_l1": slope.abs().sum(dim=1),
            "alignment": alignment,
            "gamma_random": errors,
            "curvature": torch.linalg.vector_norm(ahead.gradient.flatten(1).to(torch.float64) - slope, dim=1) / self.h,
        }

    def _at_random(
        self, oracle: Oracle, here: Answer, x: Tensor, y: Tensor, ids: Tensor, rng: Stream, draw: int
    ) -> tuple[Tensor, Tensor]:
        """The cosine with the gradient at a random point, and the error of the tangent there."""
        delta = self.eps * NORMS["linf"].draw(rng, ids, x.shape[1:], ids.new_full(ids.shape, draw))
        there = oracle.gradient(x + delta, y)
        finite(there.logits)
        slope, other = (answer.gradient.flatten(1).to(torch.float64) for answer in (here, there))
        rise = (delta.flatten(1).to(torch.float64) * slope).sum(dim=1)
        return cosine(slope, other), (there.loss - here.loss - rise).abs()


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """The cosine between rows [n, d], [n] in [-1, 1]: 1 where both are 0, 0 where one is."""
    sizes = [torch.linalg.vector_norm(rows, dim=1) for rows in (a, b)]
    least = torch.finfo(a.dtype).tiny
    units = [rows / size.clamp_min(least)[:, None] for rows, size in zip((a, b), sizes, strict=True)]
    both_flat = (sizes[0] == 0) & (sizes[1] == 0)
    return torch.where(both_flat, 1.0, (units[0] * units[1]).sum(dim=1)).clamp(-1, 1)
