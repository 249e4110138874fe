"""Local Lipschitz estimate (Yang et al. 2020, arXiv:2003.02460): how fast the output can change near a sample."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Literal

import pandas as pd
import torch
from torch import Tensor

from robusteval.attacks.losses import Loss
from robusteval.attacks.norms import NORMS, column
from robusteval.attacks.oracle import Oracle, finite
from robusteval.core.errors import require
from robusteval.core.rng import Stream
from robusteval.core.spec import Quotient
from robusteval.probes.probe import Facets, Measurement, Probe, Subject, facts_of

Output = Literal["logits", "probabilities"]


@dataclass(frozen=True)
class Lipschitz(Probe):
    """`lipschitz`: max of |f(x) - f(x')|_1 / |x - x'|_inf over x' in the L-infinity ball and [0, 1], per pixel unit.

    The maximum is sought by sign steps from a random point, the best iterate counts, and its value is the original
    model's, so that it is a lower bound. `lipschitz_random` is the same ratio at the random point.

    Attributes:
        eps: radius of the ball in pixel units.
        steps: ascent steps, of size 2.5 eps / steps.
        output: what f is; the authors' code takes the logits.
    """

    name: ClassVar[str] = "lipschitz"

    eps: float = Quotient("8", "255")
    steps: int = 10
    output: Output = "logits"

    def __post_init__(self) -> None:
        require(0 < self.eps <= 1, "eps", "must be above 0 and at most 1, as in eps=8/255", self.eps)
        require(self.steps >= 1, "steps", "must be at least 1", self.steps)

    @property
    def facets(self) -> Facets:
        """A ball."""
        return Facets("lipschitz", self.name, eps=self.eps, norm="linf")

    def measure(self, subject: Subject, rng: Stream) -> Iterator[Measurement]:
        """Search chunk by chunk."""
        search, judge = subject.oracle, Oracle(subject.model, subject.passes.fixed)
        draws, rows = rng.stream("lipschitz"), subject.passes.batch_size
        parts = zip(torch.split(subject.batch.x, rows), torch.split(subject.batch.ids, rows), strict=True)
        found = [self._ratios(search, judge, x, ids, draws) for x, ids in parts]
        best, first = (torch.cat(values).cpu() for values in zip(*found, strict=True))
        ids, labels = subject.batch.ids.cpu(), subject.batch.y.cpu()
        frame = pd.DataFrame({"sample": ids, "label": labels, "lipschitz": best, "lipschitz_random": first})
        yield Measurement(self.spec, frame, facts_of(search, judge))

    def _ratios(self, search: Oracle, judge: Oracle, x: Tensor, ids: Tensor, rng: Stream) -> tuple[Tensor, Tensor]:
        """The largest ratio found for each image, and that at the random point, both [n] float64."""
        change, ball = CHANGES[self.output], NORMS["linf"]
        home, truth = search.logits(x), finite(judge.logits(x))
        eps = torch.full(ids.shape, self.eps, dtype=torch.float64, device=x.device)
        start = here = (x + self.eps * ball.draw(rng, ids, x.shape[1:], torch.zeros_like(ids))).clamp(0, 1)
        best, largest = start, torch.full(ids.shape, -1.0, dtype=torch.float64, device=x.device)
        for step in range(self.steps + 1):
            # The change alone is climbed: a sign step leaves the distance at its bound for all but one pixel.
            answer = search.gradient(here, home, change)
            ratio = answer.loss / distance(here, x)
            better = ratio > largest
            largest, best = torch.where(better, ratio, largest), torch.where(column(better), here, best)
            if step < self.steps:
                ahead = here + 2.5 * self.eps / self.steps * answer.gradient.sign()
                here = (x + ball.project(ahead - x, eps)).clamp(0, 1)
        first, most = (change(finite(judge.logits(point)), truth) / distance(point, x) for point in (start, best))
        return torch.maximum(first, most), first


def distance(there: Tensor, x: Tensor) -> Tensor:
    """The L-infinity distance of images, [n] float64, kept above 0 so that a ratio at the same point is 0."""
    return NORMS["linf"].size(there.to(torch.float64) - x.to(torch.float64)).clamp_min(1e-12)


def _logits(logits: Tensor, home: Tensor) -> Tensor:
    return (logits.to(torch.float64) - home.to(torch.float64)).abs().sum(dim=1)


def _probabilities(logits: Tensor, home: Tensor) -> Tensor:
    there, here = (values.to(torch.float64).softmax(dim=1) for values in (logits, home))
    return (there - here).abs().sum(dim=1)


CHANGES: Mapping[Output, Loss] = MappingProxyType({"logits": _logits, "probabilities": _probabilities})
"""|f(x) - f(x')|_1 [n] from the logits at both ends, [n, k] each."""
