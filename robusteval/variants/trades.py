"""TRADES: clean cross-entropy plus how far predictions move within the ball (Zhang et al. 2019, arXiv:1901.08573)."""

import math
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from robusteval.attacks.attack import Fresh, State
from robusteval.attacks.oracle import Oracle
from robusteval.core.errors import require
from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.variants.adversarial import AdversarialTraining, Ascent, adversarial

_START = 0.001


@dataclass(frozen=True)
class Trades(AdversarialTraining):
    """CE(clean) + beta KL(clean || adversarial), gradients through both; the search maximises that divergence.

    The official code takes the last iterate; this is the one of largest divergence, the last included.

    Attributes:
        beta: the weight of robustness against accuracy; 1/lambda in the paper.
    """

    name: ClassVar[str] = "trades"

    beta: float = 6.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.beta < math.inf, "beta", "must be at least 0 and finite", self.beta)

    def loss(self, model: nn.Module, batch: Batch, classes: int, rng: Stream) -> Tensor:
        """Both terms, each a mean over the batch; batch normalisation sees clean and adversarial images apart."""
        attack = _Drift(self.eps, steps=self.steps, step=self.step)
        with torch.autocast(batch.x.device.type, enabled=False):  # or the small start drowns in rounding
            moved = adversarial(attack, model, batch, classes, rng)
        clean = model(batch.x).float()
        drift = divergence(model(moved), clean.log_softmax(dim=1)).mean()
        return functional.cross_entropy(clean, batch.y) + self.beta * drift


@dataclass
class _Anchored(State):
    """Rows that know the log-probabilities of their clean image, `clean` [n, k] float64."""

    clean: Tensor


@dataclass(frozen=True)
class _Drift(Ascent):
    """Ascent of the divergence from the clean predictions, from a start of 0.001 N(0, 1) beside the image."""

    def start(self, model: Oracle, fresh: Fresh, rng: Stream) -> State:
        """Start beside the image: on it the divergence has no slope."""
        x, _, ids, eps, _ = fresh
        beside = self.inside(x + _START * rng.normal(ids, x.shape[1:]), x, eps)
        clean = model.logits(x).to(torch.float64).log_softmax(dim=1)
        return _Anchored(**vars(State.at(beside, fresh)), clean=clean)

    def advance(self, model: Oracle, state: State, rng: Stream) -> State:
        """One step up the divergence, back into the ball."""
        answer = model.gradient(state.x, _clean(state), divergence)
        moved = self.inside(state.x + self.lengths(state) * self.ball.steepest(answer.gradient), state.x0, state.eps)
        return self.observed(state, answer.logits, answer.loss).moved(moved)

    def close(self, model: Oracle, state: State) -> State:
        """Observe the points after the last step."""
        logits = model.logits(state.x)
        return self.observed(state, logits, divergence(logits, _clean(state)))


def _clean(state: State) -> Tensor:
    return cast(_Anchored, state).clean


def divergence(logits: Tensor, clean: Tensor) -> Tensor:
    """KL(clean || predictions) of each row in nats, [n], from logits [n, k] and clean log-probabilities [n, k]."""
    moved = logits.to(clean.dtype).log_softmax(dim=1)
    return functional.kl_div(moved, clean, reduction="none", log_target=True).sum(dim=1)
