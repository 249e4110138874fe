"""Signs that an attack has failed rather than that a model is robust (TRUST R11 and R15).

Sources: Athalye et al. 2018, arXiv:1802.00420; Carlini et al. 2019, arXiv:1902.06705; Pintor et al. 2022,
arXiv:2106.09947. Each sign is a pure function of what `drive` has or `inspected` asks for.
"""

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from robusteval.attacks.attack import Attack
from robusteval.attacks.losses import cross_entropy, margin, margin_loss
from robusteval.attacks.oracle import Oracle
from robusteval.core.rng import Stream
from robusteval.core.types import Batch

FLAGS: Mapping[str, str] = MappingProxyType(
    {
        "randomised": "The same images get other outputs in another pass.",
        "probabilities": "The model answers with probabilities, not logits: gradients vanish where it is sure.",
        "zero-gradients": "More than 10% of the attacked samples have no gradient at their start.",
        "tiny-gradients": "The gradient of the margin is below 1e-9 for half of the attacked samples.",
        "nan-gradients": "A gradient was NaN or infinite; such entries were taken as 0.",
        "black-box-beats-white-box": "A search without gradients broke more than 0.2% of what those with them left.",
        "loss-still-rising": "The loss still rose at the last steps: more steps would break more.",
        "unstable": "A change a hundredth as large moves the loss by more than a tenth of what the attack gained.",
    }
)
"""Every flag and what it says; with one the accuracy is an upper bound (TRUST R16)."""

IMAGES = 32
"""Attacked samples of a drive that are looked at closer: as many as fill the smallest pass."""
REPEATS = 4
"""Passes of the same images after the first."""
NEARBY = 2
"""Points drawn in the ball of eps / 100 around each."""
FEWEST_STEPS = 10
"""In a shorter search a tenth of the steps is less than one."""


def randomised(outputs: Tensor) -> bool:
    """Whether passes of the same images, [passes, n, k], differ by more than 1e-4, or than 1e-4 of logits above 1."""
    spread = (outputs.amax(dim=0) - outputs.amin(dim=0)).amax(dim=1)
    return bool((spread > 1e-4 * outputs.abs().amax(dim=(0, 2)).clamp_min(1)).any())


def probabilities(outputs: Tensor) -> bool:
    """Whether all rows [n, k] are non-negative and sum to 1 within 1e-4."""
    return bool(((outputs >= 0).all(dim=1) & ((outputs.sum(dim=1) - 1).abs() <= 1e-4)).all())


def zero_gradients(*largest: Tensor) -> bool:
    """Whether more than 10% of the samples have a zero gradient with every loss.

    Args:
        largest: the largest entry of each sample's gradient [n], of one loss each.
    """
    return float((torch.stack(largest) == 0).all(dim=0).double().mean()) > 0.1


def tiny_gradients(largest: Tensor) -> bool:
    """Whether the largest entry of a sample's gradient [n] is below 1e-9 in the median."""
    return float(largest.median()) < 1e-9


def black_box_wins(broken: int, n: int) -> bool:
    """Whether searches without gradients broke too many, of n, that those with them had left."""
    return broken > 2 and broken > 0.002 * n


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


def still_rising(survivors: Tensor) -> bool:
    """Whether the loss still rises for at least 5% of the survivors and more than 2, given for which it does [n]."""
    count = int(survivors.sum())
    return count > 2 and count >= 0.05 * len(survivors)


def unstable(here: Tensor, nearby: Tensor, found: Tensor) -> bool:
    """Whether the loss varies near half of the samples or more by over 10% of its range.

    The range is the distance from the loss of the image to the loss of the point that the attack found.

    Args:
        here: the loss at the image [n].
        nearby: in a ball of eps / 100 around it [points, n].
        found: at the end [n].
    """
    if len(here) == 0:
        return False
    varies = torch.cat([nearby, here[None]]).amax(dim=0) - torch.cat([nearby, here[None]]).amin(dim=0)
    return float((varies > 0.1 * (found - here).abs()).double().mean()) >= 0.5


def inspected(
    attack: Attack,
    judge: Oracle,
    model: Oracle,
    batch: Batch,
    clean: Tensor,
    outcome: tuple[Tensor, Tensor],
    rng: Stream,
) -> set[str]:
    """The flags that take passes of their own, on a few attacked samples: those of the lowest ids.

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
        return set()
    (x, y, ids), (inputs, logits) = (tensor[rows] for tensor in batch), (tensor[rows] for tensor in outcome)
    found = (
        {"randomised"} if randomised(torch.stack([clean[rows], *(judge.logits(x) for _ in range(REPEATS))])) else set()
    )
    if any(search.white_box for search in attack.searches):
        found |= _sloped(model, x, y)
    offsets = [attack.ball.draw(rng, ids, x.shape[1:], torch.full_like(ids, number)) for number in range(NEARBY)]
    nearby = torch.stack([margin(judge.logits((x + attack.eps / 100 * offset).clamp(0, 1)), y) for offset in offsets])
    moved = (inputs != x).flatten(1).any(dim=1)
    if unstable(margin(clean[rows], y)[moved], nearby[:, moved], margin(logits, y)[moved]):
        found.add("unstable")
    return found


def _sloped(model: Oracle, x: Tensor, y: Tensor) -> set[str]:
    """What the gradients at the images show; a second loss is asked only where the margin has zeros."""
    largest = _largest(model.gradient(x, y, margin_loss).gradient)
    if zero_gradients(largest) and zero_gradients(largest, _largest(model.gradient(x, y, cross_entropy).gradient)):
        return {"zero-gradients"}
    return {"tiny-gradients"} if tiny_gradients(largest) else set()


def _largest(gradient: Tensor) -> Tensor:
    return gradient.abs().flatten(1).amax(dim=1)
