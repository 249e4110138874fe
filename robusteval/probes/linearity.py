"""Local linearity error gamma (Qin et al. 2019, arXiv:1907.02610): how far the loss leaves its tangent in a ball."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import pandas as pd
import torch
from torch import Tensor

from robusteval.attacks.losses import cross_entropy
from robusteval.attacks.norms import NORMS
from robusteval.attacks.oracle import Oracle, finite
from robusteval.core.errors import require
from robusteval.core.rng import Stream
from robusteval.core.spec import Quotient
from robusteval.probes.probe import Facets, Measurement, Probe, Subject, facts_of


@dataclass(frozen=True)
class Linearity(Probe):
    """gamma(eps, x) = max over |d| <= eps of |l(x + d) - l(x) - d . grad l(x)|, l the cross-entropy.

    The maximum is sought by sign steps from random starts, the best iterate counts, and its value is the original
    model's. As in the paper the ball is not cut to [0, 1].

    Attributes:
        eps: radius of the L-infinity ball in pixel units.
        steps: ascent steps of a start, of size 2.5 eps / steps.
        restarts: starts per sample.
    """

    name: ClassVar[str] = "linearity"

    eps: float = Quotient("8", "255")
    steps: int = 10
    restarts: int = 1

    def __post_init__(self) -> None:
        require(0 < self.eps <= 1, "eps", "must be above 0 and at most 1, as in eps=8/255", self.eps)
        require(self.steps >= 1, "steps", "must be at least 1", self.steps)
        require(self.restarts >= 1, "restarts", "must be at least 1", self.restarts)

    @property
    def facets(self) -> Facets:
        """A ball."""
        return Facets("linearity", self.name, eps=self.eps, norm="linf")

    def measure(self, subject: Subject, rng: Stream) -> Iterator[Measurement]:
        """Search chunk by chunk."""
        search, judge = subject.oracle, Oracle(subject.model, subject.passes.fixed)
        parts = (torch.split(tensor, subject.passes.batch_size) for tensor in subject.batch)
        draws = rng.stream("linearity")
        gammas = [self._gamma(search, judge, x, y, ids, draws) for x, y, ids in zip(*parts, strict=True)]
        ids, labels = subject.batch.ids, subject.batch.y
        frame = pd.DataFrame({"sample": ids.cpu(), "label": labels.cpu(), "gamma": torch.cat(gammas).cpu()})
        yield Measurement(self.spec, frame.astype({"gamma": "float64"}), facts_of(search, judge))

    def _gamma(self, search: Oracle, judge: Oracle, x: Tensor, y: Tensor, ids: Tensor, rng: Stream) -> Tensor:
        """The largest error found for each image, [n] float64."""
        eps = torch.full(ids.shape, self.eps, dtype=torch.float64, device=x.device)
        ball, start, tangent = NORMS["linf"], judge.gradient(x, y), search.gradient(x, y)
        finite(start.logits)
        best, largest = torch.zeros_like(x), torch.full(y.shape, -torch.inf, dtype=torch.float64, device=x.device)
        for restart in range(self.restarts):
            delta = self.eps * ball.draw(rng, ids, x.shape[1:], ids.new_full(ids.shape, restart))
            for step in range(self.steps + 1):
                here = search.gradient(x + delta, y)
                finite(here.logits)
                error = here.loss - tangent.loss - (delta * tangent.gradient).sum(dim=(1, 2, 3))
                better = error.abs() > largest
                largest = torch.where(better, error.abs(), largest)
                best = torch.where(better[:, None, None, None], delta, best)
                if step < self.steps:
                    ascent = error.sign().to(x.dtype)[:, None, None, None] * (here.gradient - tangent.gradient).sign()
                    delta = ball.project(delta + 2.5 * self.eps / self.steps * ascent, eps)
        end = cross_entropy(finite(judge.logits(x + best)), y)
        slope = (best.to(torch.float64) * start.gradient).sum(dim=(1, 2, 3))
        return (end - start.loss - slope).abs()
