"""Linearity between samples, what mixup trains (Zhang et al. 2018, arXiv:1710.09412, section 4 and figure 2).

With k the partners are those of k-mixup (Greenewald et al. 2021, arXiv:2106.02933).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import pandas as pd
import torch
from torch import Tensor

from robusteval.attacks.losses import Loss, cross_entropy
from robusteval.attacks.oracle import Oracle, finite, predict
from robusteval.core.errors import require
from robusteval.core.matching import match_in_blocks
from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.probes.probe import Measurement, Probe, Subject
from robusteval.results.store import Facts

Found = Mapping[str, Tensor]
"""Columns by their name, each [n, points] float64, NaN for a sample that has no such partner."""


@dataclass(frozen=True)
class Between(Probe):
    """The model at x = s x_i + (1 - s) x_j, for a partner x_j of another class and one of the same class.

    Columns end in `_across` and `_within`, and are means over the points of the segment. `logit_deviation` is the L2
    distance of the logits, centred over the classes, from the mix of those at both ends; `probability_deviation` half
    the L1 distance of the probabilities from their mix, in [0, 1]; `neither` the share of points that are predicted as
    neither label (figure 2a); `gradient_norm` the L2 norm of the input gradient (figure 2b). All is read off the
    evaluation form.

    The partner is drawn for each sample id among the others of its shard, which are the 1,000 consecutive samples that
    the engine works on at once: it depends neither on workers, nor on order, nor on the samples of other shards. Where
    there is none, and with k where the partner is not of that kind, the value is missing.

    Attributes:
        points: evenly spaced, without the ends.
        gradient: of the cross-entropy against the labels mixed as the images, or of the largest logit; the paper leaves
            open which it means.
        k: samples matched at a time, as in k-mixup, one partner for each sample; None for partners at random.
    """

    name: ClassVar[str] = "between"
    joint: ClassVar[bool] = True

    points: int = 9
    gradient: Literal["loss", "logit"] = "loss"
    k: int | None = None

    def __post_init__(self) -> None:
        require(self.points >= 1, "points", "must be at least 1", self.points)
        require(self.k is None or self.k >= 1, "k", "must be at least 1, or None for random partners", self.k)

    @property
    def shares(self) -> list[float]:
        """The values of s, rising."""
        return [point / (self.points + 1) for point in range(1, self.points + 1)]

    def measure(self, subject: Subject, rng: Stream) -> Iterator[Measurement]:
        """Walk each segment once."""
        oracle = subject.oracle
        columns = {name: values.mean(dim=1).cpu() for name, values in self._found(oracle, subject, rng).items()}
        frame = pd.DataFrame({"sample": subject.batch.ids.cpu(), "label": subject.batch.y.cpu(), **columns})
        yield Measurement(self.spec, frame, Facts(oracle.forwards + len(frame), oracle.backwards))

    def curves(self, subject: Subject, rng: Stream) -> pd.DataFrame:
        """The means over a shard at each point: `share` s, the columns of `measure`, and `n` of the shard."""
        found = self._found(subject.oracle, subject, rng)
        means = {name: values.nanmean(dim=0).cpu() for name, values in found.items()}
        return pd.DataFrame({"share": self.shares, **means, "n": len(subject.batch.y)})

    def _found(self, oracle: Oracle, subject: Subject, rng: Stream) -> Found:
        batch, passes = subject.batch, subject.passes
        ends = finite(predict(subject.form, batch.x, passes.batch_size, passes.fixed)).to(torch.float64)
        partners = drawn(batch, rng.stream("between")) if self.k is None else matched(batch, self.k, rng)
        found = {}
        for kind, partner in partners.items():
            columns = self._along(oracle, batch, ends, partner, passes.batch_size)
            found.update({f"{name}_{kind}": values for name, values in columns.items()})
        return found

    def _along(self, oracle: Oracle, batch: Batch, ends: Tensor, partner: Tensor, size: int) -> Found:
        """All columns at all points for one partner of each sample [n], -1 where there is none."""
        blank = torch.full((len(partner), self.points), torch.nan, dtype=torch.float64, device=batch.x.device)
        found = {name: blank.clone() for name in COLUMNS}
        for rows in torch.split((partner >= 0).nonzero()[:, 0], size):
            for point, share in enumerate(self.shares):
                for name, values in self._at(oracle, batch, ends, rows, partner[rows], share).items():
                    found[name][rows, point] = values
        return found

    def _at(self, oracle: Oracle, batch: Batch, ends: Tensor, one: Tensor, other: Tensor, share: float) -> Found:
        """The columns of some samples at one point, each [n]."""
        x = share * batch.x[one] + (1 - share) * batch.x[other]
        pair = torch.stack([batch.y[one], batch.y[other]], dim=1)
        answer = oracle.gradient(x, pair, mixed_loss(share) if self.gradient == "loss" else _largest)
        logits = finite(answer.logits).to(torch.float64)
        offset = logits - share * ends[one] - (1 - share) * ends[other]
        mix = share * ends[one].softmax(dim=1) + (1 - share) * ends[other].softmax(dim=1)
        values = (
            torch.linalg.vector_norm(offset - offset.mean(dim=1, keepdim=True), dim=1),
            (logits.softmax(dim=1) - mix).abs().sum(dim=1) / 2,
            (logits.argmax(dim=1)[:, None] != pair).all(dim=1).to(torch.float64),
            torch.linalg.vector_norm(answer.gradient.flatten(1).to(torch.float64), dim=1),
        )
        return dict(zip(COLUMNS, values, strict=True))


COLUMNS = ("logit_deviation", "probability_deviation", "neither", "gradient_norm")


def drawn(batch: Batch, rng: Stream) -> dict[str, Tensor]:
    """A uniform partner of each sample `across` and one `within` the classes, rows of the batch [n], -1 for none."""
    order = batch.ids.argsort()
    order = order[batch.y[order].argsort(stable=True)]
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)
    counts = torch.bincount(batch.y)
    first, own = (counts.cumsum(0) - counts)[batch.y], counts[batch.y]
    # Within the order by class: skip the whole class, or the sample itself.
    others, alike = len(order) - own, own - 1
    across = rng.stream("across").integers(batch.ids, (), 0, 2**62) % others.clamp_min(1)
    across = torch.where(across < first, across, across + own)
    within = first + rng.stream("within").integers(batch.ids, (), 0, 2**62) % alike.clamp_min(1)
    within = torch.where(within < place, within, within + 1)
    return {
        kind: torch.where(room > 0, order[place_of.clamp_max(len(order) - 1)], -1)
        for kind, room, place_of in (("within", alike, within), ("across", others, across))
    }


def matched(batch: Batch, k: int, rng: Stream) -> dict[str, Tensor]:
    """Partners between two random halves, matched k at a time in squared distance; rows of the batch [n] or -1.

    Each pair is `within` or `across` as its labels are. The odd one out has no partner.
    """
    order = batch.ids.argsort()
    order = order[rng.stream("between", "order").words(batch.ids[order], 1)[:, 0].argsort(stable=True)]
    half = len(order) // 2
    partner = torch.full_like(order, -1)
    if half:
        first, second = order[:half], order[half : 2 * half]
        second = second[match_in_blocks(batch.x[first], batch.x[second], k)]
        partner[first], partner[second] = second, first
    alike = (partner >= 0) & (batch.y == batch.y[partner])
    return {"within": torch.where(alike, partner, -1), "across": torch.where(alike, -1, partner)}


def mixed_loss(share: float) -> Loss:
    """The cross-entropy against two labels [n, 2], the first with this share."""
    return lambda logits, pair: (
        share * cross_entropy(logits, pair[:, 0]) + (1 - share) * cross_entropy(logits, pair[:, 1])
    )


def _largest(logits: Tensor, _: Tensor) -> Tensor:
    return logits.to(torch.float64).amax(dim=1)
