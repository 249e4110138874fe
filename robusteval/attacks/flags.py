"""Signs that an attack has failed rather than that a model is robust (TRUST R11 and R15).

Sources: Athalye et al. 2018, arXiv:1802.00420; Carlini et al. 2019, arXiv:1902.06705; Pintor et al. 2022,
arXiv:2106.09947. Each sign is a pure function of what `drive` has or `inspected` asks for.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

from robusteval.attacks.attack import Attack
from robusteval.attacks.losses import cross_entropy, margin, margin_loss
from robusteval.attacks.oracle import Oracle
from robusteval.core.rng import Stream
from robusteval.core.types import Batch


class Tally(NamedTuple):
    """How many samples show a sign, and of how many that were looked at; shards add up."""

    shown: int
    of: int

    @classmethod
    def over(cls, shown: Tensor) -> "Tally":
        """The rows that show it [n]."""
        return cls(int(shown.sum()), len(shown))


@dataclass(frozen=True)
class Flag:
    """A reason not to believe a number: what it says, and from which count, of how many, it is raised."""

    says: str
    raised: Callable[[int, int], bool]


FLAGS: Mapping[str, Flag] = MappingProxyType(
    {
        "randomised": Flag("The same images get other outputs in another pass.", lambda shown, of: shown > 0),
        "probabilities": Flag(
            "The model answers with probabilities, not logits: gradients vanish where it is sure.",
            lambda shown, of: shown == of,
        ),
        "zero-gradients": Flag(
            "More than 10% of the attacked samples have no gradient at their start.",
            lambda shown, of: shown > 0.1 * of,
        ),
        "tiny-gradients": Flag(
            "The gradient of the margin is below 1e-9 for half of the attacked samples.",
            lambda shown, of: shown > 0.5 * of,
        ),
        "nan-gradients": Flag(
            "A gradient was NaN or infinite; such entries were taken as 0.", lambda shown, of: shown > 0
        ),
        "black-box-beats-white-box": Flag(
            "A search without gradients broke more than 0.2% of what those with them left.",
            lambda shown, of: shown > 2 and shown > 0.002 * of,
        ),
        "loss-still-rising": Flag(
            "The loss still rose at the last steps: more steps would break more.",
            lambda shown, of: shown > 2 and shown >= 0.05 * of,
        ),
        "unstable": Flag(
            "A change a hundredth as large moves the loss by more than a tenth of what the attack gained.",
            lambda shown, of: shown >= 0.5 * of,
        ),
        "not-monotone": Flag(
            "The same attack left over 2 samples fewer in a smaller ball.", lambda shown, of: shown > 2
        ),
        "weaker-than-one-step": Flag(
            "A single step of FGSM left over 2 samples fewer in the same ball.", lambda shown, of: shown > 2
        ),
        "noise-as-strong": Flag(
            "Random noise in the same ball broke more than half as many samples.",
            lambda shown, of: shown > 2 and shown > 0.5 * of,
        ),
        "unbounded-leaves-robust": Flag(
            "In a ball that holds every image over 2% more samples than chance were left.",
            lambda shown, of: shown > 2 and shown > 0.02 * of,
        ),
    }
)
"""Every flag; with one the accuracy is an upper bound (TRUST R16)."""

IMAGES = 32
"""Attacked samples of a drive that are looked at closer: as many as fill the smallest pass."""
REPEATS = 4
"""Passes of the same images after the first."""
NEARBY = 2
"""Points drawn in the ball of eps / 100 around each."""
FEWEST_STEPS = 10
"""In a shorter search a tenth of the steps is less than one."""


def raised(signs: Mapping[str, tuple[int, int]]) -> tuple[str, ...]:
    """The flags that counts raise, in the order of `FLAGS`."""
    return tuple(name for name, flag in FLAGS.items() if name in signs and signs[name][1] and flag.raised(*signs[name]))


def randomised(outputs: Tensor) -> Tensor:
    """Which rows of passes of the same images, [passes, n, k], differ by over 1e-4, or 1e-4 of logits above 1, [n]."""
    spread = (outputs.amax(dim=0) - outputs.amin(dim=0)).amax(dim=1)
    return spread > 1e-4 * outputs.abs().amax(dim=(0, 2)).clamp_min(1)


def probabilities(outputs: Tensor) -> Tensor:
    """Which rows [n, k] are non-negative and sum to 1 within 1e-4, [n]."""
    return (outputs >= 0).all(dim=1) & ((outputs.sum(dim=1) - 1).abs() <= 1e-4)


def late(budget: int) -> int:
    """The iteration after which all but the last tenth of the steps is seen."""
    return budget - budget // 10 + 1


def rising(first: Tensor, before: Tensor, last: Tensor) -> Tensor:
    """Which samples' loss gained more than 5% of its range over the last tenth of the steps, [n].

    The loss is one in units of logits: the cross-entropy of a sure model grows by a factor at each step, so that the
    last tenth of PGD's steps makes up more than 5% of its range however many there are.

    Args:
        first: the loss at the first point [n].
        before: its highest value before the last tenth of the steps [n].
        last: its highest value [n].
    """
    return last - before > 0.05 * (last - first)


def unstable(here: Tensor, nearby: Tensor, found: Tensor) -> Tensor:
    """Near which samples the loss varies by over 10% of its range, [n].

    The range is the distance from the loss of the image to the loss of the point that the attack found.

    Args:
        here: the loss at the image [n].
        nearby: in a ball of eps / 100 around it [points, n].
        found: at the end [n].
    """
    around = torch.cat([nearby, here[None]])
    return around.amax(dim=0) - around.amin(dim=0) > 0.1 * (found - here).abs()


def inspected(
    attack: Attack,
    judge: Oracle,
    model: Oracle,
    batch: Batch,
    clean: Tensor,
    outcome: tuple[Tensor, Tensor],
    rng: Stream,
) -> dict[str, Tally]:
    """The signs that take passes of their own, on a few attacked samples: those of the lowest ids.

    Args:
        attack: what was run.
        judge: the original model.
        model: what was differentiated.
        batch: clean images, labels and ids.
        clean: logits of the original model at them [n, k].
        outcome: the final images [n, c, h, w] and their logits [n, k].
        rng: where points are drawn from.
    """
    attacked = (clean.argmax(dim=1) == batch.y).nonzero()[:, 0]
    rows = attacked[batch.ids[attacked].argsort()][:IMAGES]
    if len(rows) == 0:
        return {}
    (x, y, ids), (inputs, logits) = (tensor[rows] for tensor in batch), (tensor[rows] for tensor in outcome)
    again = torch.stack([clean[rows], *(judge.logits(x) for _ in range(REPEATS))])
    offsets = [attack.ball.draw(rng, ids, x.shape[1:], torch.full_like(ids, number)) for number in range(NEARBY)]
    nearby = torch.stack([margin(judge.logits((x + attack.radius / 100 * at).clamp(0, 1)), y) for at in offsets])
    moved = (inputs != x).flatten(1).any(dim=1)
    shaken = unstable(margin(clean[rows], y)[moved], nearby[:, moved], margin(logits, y)[moved])
    signs = {"randomised": Tally.over(randomised(again)), "unstable": Tally.over(shaken)}
    if any(search.white_box for search in attack.searches):
        signs |= _sloped(model, x, y)
    return signs


def _sloped(model: Oracle, x: Tensor, y: Tensor) -> dict[str, Tally]:
    """What the gradients at the images show; a second loss is asked only where the margin has zeros."""
    largest = _largest(model.gradient(x, y, margin_loss).gradient)
    zero = largest == 0
    if bool(zero.any()):
        zero &= _largest(model.gradient(x, y, cross_entropy).gradient) == 0
    return {"zero-gradients": Tally.over(zero), "tiny-gradients": Tally.over(~zero & (largest < 1e-9))}


def _largest(gradient: Tensor) -> Tensor:
    return gradient.abs().flatten(1).amax(dim=1)
