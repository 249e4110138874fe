"""What the rungs of a ladder of attacks say beside one another (TRUST R1, R10 to R13).

Sources: Carlini et al. 2019, "On Evaluating Adversarial Robustness" (arXiv:1902.06705); Athalye et al. 2018
(arXiv:1802.00420). Each comparison is a function of rungs that gives a `Finding`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from robusteval.core.statistics import wilson
from robusteval.engine.symptoms import Finding, Severity

FEW = 2
"""Samples by which cells may disagree (TRUST R10 and R11)."""


MUCH = 0.1
"""Share of the attacked images that better steps may certainly break beyond those of PGD before it is too weak."""


@dataclass(frozen=True)
class Rung:
    """One attack of the ladder.

    Attributes:
        name: of the rung.
        spec: of the attack; empty for the clean images.
        rows: positions of the images that it met [m].
        broken: which of them the model gets wrong in the end [m].
        seconds: it took.
        flags: signs of failure, names of `robusteval.attacks.flags.FLAGS`.
    """

    name: str
    spec: str
    rows: Tensor
    broken: Tensor
    seconds: float = 0.0
    flags: tuple[str, ...] = ()

    @property
    def met(self) -> int:
        """How many images it met."""
        return len(self.rows)

    @property
    def left(self) -> int:
        """How many of them the model still gets right."""
        return int((~self.broken).sum())

    def over(self, n: int) -> Tensor:
        """Which of n images it broke [n]."""
        broken = torch.zeros(n, dtype=torch.bool, device=self.broken.device)
        broken[self.rows] = self.broken
        return broken


def compared(ladder: list[Rung], chance: float) -> Iterator[Finding]:
    """What the rungs say beside one another; a rung that is not there says nothing.

    Args:
        ladder: from the clean images up.
        chance: accuracy of guessing.
    """
    rungs = {rung.name: rung for rung in ladder}
    for needed, judge in _COMPARISONS:
        if all(name in rungs for name in needed):
            yield judge(*(rungs[name] for name in needed))
    if "Square" in rungs:
        yield _black_box(rungs)
    if "unbounded" in rungs:
        yield _unbounded(rungs["unbounded"], chance)
    if late := [rung.spec for rung in ladder if "nan-gradients" in rung.flags]:
        yield Finding(
            "nan-gradients",
            "error",
            f"Gradients became NaN or infinite on the way of {' and of '.join(late)}, which took 0 for them.",
            "Look for a root, a quotient or a logarithm at 0 in the model, and keep its argument away from 0.",
        )


def _judged(name: str, severity: Severity, wrong: bool, says: str, remedy: str, fine: str) -> Finding:
    return Finding(name, severity, says, remedy) if wrong else Finding(name, "ok", fine)


def _unmoved(clean: Rung, zero: Rung) -> Finding:
    other = int((zero.broken != clean.broken).sum())
    return _judged(
        "eps=0",
        "error",
        other > 0,
        f"At radius 0 the verdict on {other} of {zero.met} images is not that of the clean images.",
        "Look for randomness, for a dependence on the batch, and for images outside [0, 1].",
        f"At radius 0 all {zero.met} verdicts are those of the clean images.",
    )


def _noisy(clean: Rung, noise: Rung, pgd: Rung) -> Finding:
    by_noise, by_steps = clean.left - noise.left, clean.left - pgd.left
    figures = f"{noise.spec} broke {by_noise} of {clean.left} images, {pgd.spec} {by_steps}"
    return _judged(
        "noise",
        "warning",
        by_noise > FEW and 2 * by_noise >= by_steps,
        f"Random noise is nearly as strong as gradients: {figures}.",
        "Do not believe attacks that follow gradients here, unless the radius is so large that noise destroys images.",
        f"Noise breaks less than half of what gradients do: {figures}.",
    )


def _stepwise(fgsm: Rung, pgd: Rung) -> Finding:
    figures = f"{pgd.spec} leaves {pgd.left} of {pgd.met}, {fgsm.spec} {fgsm.left}"
    return _judged(
        "more-steps",
        "warning",
        pgd.left > fgsm.left + FEW,
        f"Many steps are weaker than one: {figures}.",
        "The loss is masked or rough near the images: attack with restarts, other losses and without gradients.",
        f"Many steps are no weaker than one: {figures}.",
    )


def _wider(pgd: Rung, unbounded: Rung) -> Finding:
    figures = f"{unbounded.spec} leaves {unbounded.left} of {unbounded.met}, {pgd.spec} {pgd.left}"
    return _judged(
        "larger-radius",
        "warning",
        unbounded.left > pgd.left + FEW,
        f"A larger radius is weaker: {figures}.",
        "Gradients fail far from the images: saturation or masking hides the way.",
        f"A larger radius is no weaker: {figures}.",
    )


def _converged(clean: Rung, pgd: Rung, apgd: Rung) -> Finding:
    broken, attacked = apgd.met - apgd.left, clean.left
    # What it broke of the images that it met stands for all that PGD left.
    share = wilson(round(broken / apgd.met * pgd.left), attacked) if apgd.met else None
    rising = [rung.spec for rung in (pgd, apgd) if "loss-still-rising" in rung.flags]
    figures = f"{apgd.spec} broke {broken} of {apgd.met} images that {pgd.spec} left"
    still = f"; the loss still rose at the last steps of {' and of '.join(rising)}" if rising else ""
    return _judged(
        "steps",
        "warning",
        bool(rising) or (share is not None and broken > FEW and share.low > MUCH),
        f"Twenty steps are too few: {figures}{still}.",
        "Measure with autoattack, or with apgd of 100 steps or more, and see that further steps change nothing.",
        f"More and better steps change {100 * share.value:.1f}% of the verdicts: {figures}."
        if share
        else f"{pgd.spec} left none of {attacked} images.",
    )


def _smooth(pgd: Rung) -> Finding:
    return _judged(
        "surface",
        "warning",
        "unstable" in pgd.flags,
        "Around most images a change a hundredth of the radius moves the loss by more than a tenth of all that "
        f"{pgd.spec} gained: gradients say little about the way.",
        "Attack without gradients (square), or with gradients averaged over points nearby.",
        "The loss changes little within a hundredth of the radius.",
    )


def _black_box(rungs: Mapping[str, Rung]) -> Finding:
    """TRUST R11: by noise or by queries, what no gradient had found; gradients that came after noise count."""
    square, n = rungs["Square"], rungs["clean"].met
    white = torch.stack([rungs[name].over(n) for name in ("FGSM", "PGD", "APGD", "APGD-T") if name in rungs])
    seen = white.any(dim=0)
    noise = rungs["noise"].over(n) & ~seen if "noise" in rungs else torch.zeros_like(seen)
    unseen = int((noise | (square.over(n) & ~seen)).sum())
    figures = f"noise and {square.spec} broke {unseen} images that no gradient had"
    return _judged(
        "black-box",
        "error",
        unseen > FEW,
        f"Attacks that see no gradient beat those that do: {figures}; Square met {square.met} of them.",
        "Gradients are masked: robust accuracy under white-box attacks is an upper bound that is too high.",
        f"Attacks without gradients find nothing new: {figures}."
        if square.met
        else "Gradients left no image for attacks without them.",
    )


def _unbounded(rung: Rung, chance: float) -> Finding:
    limit = min(chance, 0.1)
    return _judged(
        "unbounded",
        "error",
        rung.left > FEW and wilson(rung.left, rung.met).low > limit,
        f"An attack without bounds must break every image, yet {rung.spec} leaves {rung.left} of {rung.met}.",
        "Gradients do not lead to the images that break: they are cut, masked or saturated.",
        f"An attack without bounds leaves {rung.left} of {rung.met} images, as it must.",
    )


_COMPARISONS = (
    (("clean", "eps=0"), _unmoved),
    (("clean", "noise", "PGD"), _noisy),
    (("FGSM", "PGD"), _stepwise),
    (("clean", "PGD", "APGD"), _converged),
    (("PGD",), _smooth),
    (("PGD", "unbounded"), _wider),
)
