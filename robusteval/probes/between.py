"""Linearity between samples, what mixup trains (Zhang et al. 2018, arXiv:1710.09412, section 4 and figure 2).

With k the partners are those of k-mixup (Greenewald et al. 2021, arXiv:2106.02933); along codes the paths are those of
VarMixup (Mangla et al. 2020, arXiv:2003.06566).
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import pandas as pd
import torch
from torch import Tensor

from robusteval.attacks.losses import Loss, cross_entropy
from robusteval.attacks.oracle import Oracle, finite, predict
from robusteval.core.errors import InputError, require
from robusteval.core.rng import Stream
from robusteval.probes.paths import Pairing, Route, is_coded, pairing_of, partners, read_codec
from robusteval.probes.probe import Measurement, Probe, Subject, facts_of
from robusteval.results.store import Facts

Found = Mapping[str, Tensor]
"""Columns by their name, each [n, points] float64, NaN for a sample that has no such partner."""


@dataclass(frozen=True)
class Between(Probe):
    """The model at x = s x_i + (1 - s) x_j, for a partner x_j of another class and one of the same class.

    The path is `straight`, as that, or `latent`: decoded mixes of codes, whose ends are reconstructions. `card` is what
    the checkpoint's card says of its training: the matched partners of `kmixup` with its k and cost, the codes of
    `varmixup`, and straight to random partners for every other variant or none. Checkpoints hold no autoencoder: for
    codes name the file that the training left in its cache; without it such a cell fails and says so.

    Columns end in `_across` and `_within`, and are means over the points of the path. `logit_deviation` is the L2
    distance of the logits, centred over the classes, from the mix of those at both of its ends; `probability_deviation`
    half the L1 distance of the probabilities from their mix, in [0, 1]; `neither` the share of points that are
    predicted as neither label (figure 2a); `gradient_norm` the L2 norm of the input gradient (figure 2b). All is read
    off the evaluation form.

    The partner is drawn for each sample id among the others of its shard, which are the 1,000 consecutive samples that
    the engine works on at once: it depends neither on workers, nor on order, nor on the samples of other shards. Where
    there is none, and with k where the partner is not of that kind, the value is missing.

    Attributes:
        points: evenly spaced, without the ends.
        gradient: of the cross-entropy against the labels mixed as the images, or of the largest logit; the paper leaves
            open which it means.
        k: samples matched at a time, as in k-mixup, one partner for each sample; None for partners at random.
        path: from one end to the other.
        autoencoder: path of an `mmd-vae-*.safetensors`, for codes.
    """

    name: ClassVar[str] = "between"
    joint: ClassVar[bool] = True

    points: int = 9
    gradient: Literal["loss", "logit"] = "loss"
    k: int | None = None
    path: Literal["straight", "latent", "card"] = "straight"
    autoencoder: str | None = None

    def __post_init__(self) -> None:
        require(self.points >= 1, "points", "must be at least 1", self.points)
        require(self.k is None or self.k >= 1, "k", "must be at least 1, or None for random partners", self.k)
        plain, file = self.path == "straight", self.autoencoder
        require(self.k is None or plain, "k", f"is for path='straight', and here it is {self.path!r}", self.k)
        require(file is None or not plain, "autoencoder", "is for path='latent' or path='card'", file)
        needs = "path='latent' needs an mmd-vae-*.safetensors, which a training leaves in its --cache"
        require(file is not None or self.path != "latent", "autoencoder", needs, file)
        require(file is None or Path(file).is_file(), "autoencoder", "there is no such file", file)

    @property
    def depends(self) -> str:
        """The sha256 of the autoencoder's file."""
        return hashlib.sha256(Path(self.autoencoder).read_bytes()).hexdigest() if self.autoencoder else ""

    @property
    def reads_card(self) -> bool:
        """Whether the checkpoint's card says what is measured."""
        return self.path == "card"

    @property
    def shares(self) -> list[float]:
        """The values of s, rising."""
        return [point / (self.points + 1) for point in range(1, self.points + 1)]

    def measure(self, subject: Subject, rng: Stream) -> Iterator[Measurement]:
        """Walk each segment once."""
        oracle = subject.oracle
        columns = {name: values.mean(dim=1).cpu() for name, values in self._found(oracle, subject, rng).items()}
        frame = pd.DataFrame({"sample": subject.batch.ids.cpu(), "label": subject.batch.y.cpu(), **columns})
        yield Measurement(self.spec, frame, facts_of(oracle) + Facts(forwards=len(frame)))

    def curves(self, subject: Subject, rng: Stream) -> pd.DataFrame:
        """The means over a shard at each point: `share` s, the columns of `measure`, and `n` of the shard."""
        found = self._found(subject.oracle, subject, rng)
        means = {name: values.nanmean(dim=0).cpu() for name, values in found.items()}
        return pd.DataFrame({"share": self.shares, **means, "n": len(subject.batch.y)})

    def _found(self, oracle: Oracle, subject: Subject, rng: Stream) -> Found:
        batch, passes = subject.batch, subject.passes
        variant = subject.variant if self.reads_card else None
        pairing = pairing_of(variant) if self.reads_card else Pairing(self.k)
        route = self._route(subject, self.path == "latent" or is_coded(variant))
        x = route.images(route.points)
        ends = finite(predict(subject.form, x, passes.batch_size, passes.fixed)).to(torch.float64)
        found = {}
        for kind, partner in partners(batch, pairing, rng).items():
            columns = self._along(oracle, subject, route, ends, partner)
            found.update({f"{name}_{kind}": values for name, values in columns.items()})
        return found

    def _route(self, subject: Subject, coded: bool) -> Route:
        x = subject.batch.x
        if not coded:
            return Route.straight(x)
        if self.autoencoder is None:
            raise InputError(
                f"the checkpoint is of {subject.variant}, and holds no autoencoder: name the "
                "mmd-vae-*.safetensors that its training left in --cache, with autoencoder='FILE'"
            )
        channels, height, width = x.shape[1:]
        return Route.coded(x, read_codec(Path(self.autoencoder), (channels, height, width)).to(x.device))

    def _along(self, oracle: Oracle, subject: Subject, route: Route, ends: Tensor, partner: Tensor) -> Found:
        """All columns at all points for one partner of each sample [n], -1 where there is none."""
        shape, device = (len(partner), self.points), partner.device
        blank = torch.full(shape, torch.nan, dtype=torch.float64, device=device)
        found = {name: blank.clone() for name in COLUMNS}
        for rows in torch.split((partner >= 0).nonzero()[:, 0], subject.passes.batch_size):
            for point, share in enumerate(self.shares):
                x = route.at(rows, partner[rows], share)
                for name, values in self._at(oracle, subject, ends, x, rows, partner[rows], share).items():
                    found[name][rows, point] = values
        return found

    def _at(
        self, oracle: Oracle, subject: Subject, ends: Tensor, x: Tensor, one: Tensor, other: Tensor, share: float
    ) -> Found:
        """The columns of images x [m, c, h, w] at this share of samples `one` [m], the rest of `other`, each [m]."""
        pair = torch.stack([subject.batch.y[one], subject.batch.y[other]], dim=1)
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


def mixed_loss(share: float) -> Loss:
    """The cross-entropy against two labels [n, 2], the first with this share."""
    return lambda logits, pair: (
        share * cross_entropy(logits, pair[:, 0]) + (1 - share) * cross_entropy(logits, pair[:, 1])
    )


def _largest(logits: Tensor, _: Tensor) -> Tensor:
    return logits.to(torch.float64).amax(dim=1)
