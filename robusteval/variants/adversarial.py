"""What adversarial training variants share: the ball, its rules, and the search for the strongest points in it."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from robusteval.attacks.attack import Goal
from robusteval.attacks.drive import Passes, strongest
from robusteval.attacks.pgd import Pgd
from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.models.fuse import evaluation_form
from robusteval.variants.variant import Variant

_EXAMPLES = 8  # images on which the evaluation form must agree


@dataclass(frozen=True)
class AdversarialTraining(Variant):
    """Training on the strongest points near the samples.

    Attributes:
        eps: radius of the l-infinity ball in pixel units of [0, 1].
        steps: of the search.
        step: size of one step in pixel units.
    """

    eps: float = 8 / 255
    steps: int = 10
    step: float = 2 / 255

    def __post_init__(self) -> None:
        Ascent(self.eps, steps=self.steps, step=self.step)  # whose rules they are


@dataclass(frozen=True)
class Ascent(Pgd):
    """PGD that keeps every sample to the end; without a `name` of its own, so that no spec can name it.

    Attributes:
        step: size of one step in pixel units.
    """

    goal: ClassVar[Goal] = "loss"

    step: float = 2 / 255


def adversarial(attack: Ascent, model: nn.Module, batch: Batch, classes: int, rng: Stream) -> Tensor:
    """The strongest points that the attack finds, [n, c, h, w].

    The search runs in eval mode on a copy of the model, its evaluation form: nothing of the model in training moves,
    neither its statistics nor its mode nor a gradient.
    """
    with torch.autocast(batch.x.device.type, enabled=False):  # or rounding hides whether the two forms agree
        form = evaluation_form(model, batch.x[:_EXAMPLES])
    # On a CPU fewer rows stay in cache; a GPU wants them all.
    passes = Passes() if batch.x.device.type == "cpu" else Passes(len(batch.ids))
    return strongest(attack, form.model, batch, classes, rng, passes)
