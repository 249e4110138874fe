"""The examination of a model: symptoms that need no attack, then the ladder of attacks from the weakest up.

The ladder and its comparisons follow Carlini et al. 2019, "On Evaluating Adversarial Robustness" (arXiv:1902.06705),
and Athalye et al. 2018 (arXiv:1802.00420): nothing at radius 0, little by noise, more by more steps, everything in an
unbounded ball, and nothing by queries that gradients do not find.
"""

import copy
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor, nn
from tqdm import tqdm

from robusteval.attacks import ATTACKS, Attack, AttackOutcome, Passes, drive
from robusteval.attacks.norms import NormName
from robusteval.attacks.oracle import predict, steady
from robusteval.core.errors import InputError
from robusteval.core.precision import full_float32
from robusteval.core.rng import Stream
from robusteval.core.statistics import wilson
from robusteval.core.types import Batch
from robusteval.engine import symptoms
from robusteval.engine.plan import Settings
from robusteval.engine.readings import normalisation
from robusteval.engine.sources import ModelSource
from robusteval.engine.suite import Samples
from robusteval.engine.symptoms import Finding, Patient, Severity
from robusteval.models.fuse import evaluation_form

LADDER: Mapping[str, tuple[str, Literal["all", "left"]]] = {
    "eps=0": ("fgsm(eps=0, norm={norm!r})", "all"),
    "noise": ("noise(eps={eps}, norm={norm!r}, draws=10)", "all"),
    "FGSM": ("fgsm(eps={eps}, norm={norm!r})", "all"),
    "PGD": ("pgd(eps={eps}, norm={norm!r}, steps=20)", "all"),
    "APGD": ("apgd(eps={eps}, norm={norm!r}, steps=100)", "left"),
    "APGD-T": ("apgd(eps={eps}, norm={norm!r}, loss='t', steps=20, targets=3)", "left"),
    "Square": ("square(eps={eps}, norm={norm!r}, n_queries=100)", "left"),
    "unbounded": ("pgd(eps={whole}, norm={norm!r}, steps=20)", "all"),
}
"""Rungs by name: the attack, and whether it meets all images or those that gradients have left so far."""

MOST_LEFT = 48
"""Images that the costly rungs meet at most: one pass, and a resolution of 2%."""
FEW = 2
"""Samples by which cells may disagree (TRUST R10 and R11)."""


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


@dataclass(frozen=True)
class Examination:
    """What was found, and the ladder as far as it was climbed, from the clean images up."""

    findings: tuple[Finding, ...]
    ladder: tuple[Rung, ...] = field(repr=False)

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong."""
        return all(finding.severity == "ok" for finding in self.findings)

    @property
    def wrong(self) -> tuple[Finding, ...]:
        """What is wrong, errors first."""
        return tuple(found for grade in ("error", "warning") for found in self.findings if found.severity == grade)


def examine_checkpoint(
    source: ModelSource, settings: Settings, samples: Samples = 200, eps: str = "8/255", norm: NormName = "linf"
) -> Examination:
    """Load a checkpoint and examine it on the first samples of its data; torch's threads are put back at the end.

    Raises:
        RobustevalError: the checkpoint, its data or an option cannot be used.
    """
    attacks(eps, norm, 1)  # a wrong eps should not wait for the data
    split, threads = source.data.load(), torch.get_num_threads()
    chosen = split if samples == "all" else split.first(samples)
    batch = Batch(*(tensor.to(settings.device) for tensor in chosen.batch()))
    model = source.load(split).model.to(settings.device)
    torch.set_num_threads(settings.threads)
    try:
        return examine(model, batch, len(split.classes), eps, norm, seed=settings.seed, batch_size=settings.rows)
    finally:
        torch.set_num_threads(threads)


@full_float32()
def examine(
    model: nn.Module,
    batch: Batch,
    classes: int,
    eps: str = "8/255",
    norm: NormName = "linf",
    *,
    seed: int = 0,
    batch_size: int = Passes().batch_size,
) -> Examination:
    """Examine a model; it stays as it is.

    Args:
        model: images in [0, 1] to logits, in the mode in which it is used: what is in train mode stays so.
        batch: clean images, labels and ids, on the model's device.
        classes: that the labels tell apart.
        eps: radius of the ball in pixel units of [0, 1], as text: "8/255".
        norm: of the ball.
        seed: of every random number.
        batch_size: rows of a pass at most.

    Raises:
        RobustevalError: eps or norm break their rule.
    """
    rng, climb = Stream.seeded(seed), attacks(eps, norm, batch.x[0].numel())
    # A model that answers at random draws from torch's own generator, which is set for it and put back.
    with (
        torch.random.fork_rng([batch.x.device] if batch.x.is_cuda else []),
        tqdm(total=len(climb) + 1, disable=None, delay=2, leave=False) as bar,
    ):
        torch.manual_seed(rng.key)
        bar.set_postfix_str("clean")
        patient = _admitted(model, batch, classes, batch_size)
        clean = Rung("clean", "", torch.arange(len(batch.y), device=batch.y.device), ~patient.correct)
        if found := symptoms.unanswered(patient):
            return Examination(tuple(found), ())
        found = _symptoms(patient)
        bar.update()
        if any(finding.name in ("accuracy", "class-order") and finding.severity == "error" for finding in found):
            return Examination(tuple(found), (clean,))
        ladder = [clean]
        for name, (attack, share) in climb.items():
            bar.set_postfix_str(name)
            rows = clean.rows if share == "all" else _left(ladder)
            try:
                ladder.append(_climbed(name, attack, rows, patient, rng))
            except InputError as error:  # the model answers an attacked image with NaN
                found.append(_stopped(name, error))
                break
            bar.update()
    return Examination(_without_echoes((*found, *compared(ladder, patient.chance))), tuple(ladder))


def attacks(eps: str, norm: NormName, size: int) -> dict[str, tuple[Attack, Literal["all", "left"]]]:
    """The attacks of the ladder that work in a norm.

    Args:
        eps: radius as text.
        norm: of the ball.
        size: numbers in an image, which say how large a ball holds all images.

    Raises:
        RobustevalError: eps or norm break their rule.
    """
    whole = {"linf": "1", "l2": repr(math.sqrt(size)), "l1": repr(float(size))}
    if norm not in whole:
        raise InputError(f"norm={norm!r}: must be linf, l2 or l1")
    classes = ATTACKS.classes
    return {
        name: (ATTACKS.parse(text.format(eps=eps, norm=norm, whole=whole[norm])), share)
        for name, (text, share) in LADDER.items()
        if norm in classes[text.partition("(")[0]].norms
    }


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


def _admitted(model: nn.Module, batch: Batch, classes: int, rows: int) -> Patient:
    with torch.no_grad():  # or the copied parameters of a TorchScript module would be results, not leaves
        own = copy.deepcopy(model).float().requires_grad_(False)
    example = batch.x[:32]
    # Folding is for eval mode: what is in train mode is attacked as it is.
    live = any(module.training for module in own.modules())
    form = own if live else evaluation_form(own, example).model
    same = all(steady(network, example, rows) for network in (form, own))
    passes = Passes(rows, None if same else max(rows, 32))
    return Patient(own, form, batch, classes, passes, predict(own, batch.x, rows, passes.fixed))


def _symptoms(patient: Patient) -> list[Finding]:
    random = symptoms.randomness(patient)
    beside = [symptoms.company(patient)] if random.severity == "ok" else []
    return [
        *symptoms.accuracy(patient),
        normalisation(patient),
        symptoms.output(patient),
        random,
        *beside,
        *symptoms.gradients(patient),
    ]


def _climbed(name: str, attack: Attack, rows: Tensor, patient: Patient, rng: Stream) -> Rung:
    start = time.perf_counter()
    if len(rows) == 0:
        return Rung(name, attack.spec, rows, torch.zeros_like(rows, dtype=torch.bool))
    batch = Batch(*(tensor[rows] for tensor in patient.batch))
    outcome: AttackOutcome = drive(attack, patient.form, batch, rng, patient.model, patient.passes)
    return Rung(name, attack.spec, rows, outcome.broken, time.perf_counter() - start, outcome.flags)


def _left(ladder: list[Rung]) -> Tensor:
    """The first images that the clean model gets right and no gradient has broken."""
    n = ladder[0].met
    broken = torch.stack([rung.over(n) for rung in ladder if rung.name not in ("noise", "eps=0")])
    return (~broken.any(dim=0)).nonzero()[:MOST_LEFT, 0]


def _stopped(name: str, error: InputError) -> Finding:
    remedy = "Look for a division, a root or a logarithm in the model that images near the clean ones reach."
    return Finding("output", "error", f"The ladder ends at {name}: {error}.", remedy)


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
        "Do not believe attacks that follow gradients here; or the radius is so large that noise alone destroys images.",
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
    broken = apgd.met - apgd.left
    share = broken / apgd.met * pgd.left / max(clean.left, 1) if apgd.met else 0.0
    rising = [rung.spec for rung in (pgd, apgd) if "loss-still-rising" in rung.flags]
    figures = f"{apgd.spec} broke {broken} of {apgd.met} images that {pgd.spec} left"
    still = f"; the loss still rose at the last steps of {' and of '.join(rising)}" if rising else ""
    return _judged(
        "steps",
        "warning",
        bool(rising) or (broken > FEW and share > 0.1),
        f"Twenty steps are too few: {figures}{still}.",
        "Measure with autoattack, or with apgd of 100 steps or more, and see that further steps change nothing.",
        f"Twenty steps come near the end of the search: {figures}." if apgd.met else f"{pgd.spec} left none.",
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


def _without_echoes(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Beside a model that answers at random or by its batch, a verdict that changes at radius 0 is no news of its own."""
    unsteady = any(finding.name in ("randomness", "batch") and finding.severity != "ok" for finding in findings)
    if not unsteady:
        return findings
    reason = "because the model's outputs vary"
    return tuple(
        replace(finding, says=f"{finding.says[:-1]}, {reason}.")
        if finding.name == "eps=0" and finding.severity != "ok"
        else finding
        for finding in findings
    )
