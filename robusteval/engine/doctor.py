"""The examination of a model: symptoms that need no attack, then the ladder of attacks from the weakest up.

The ladder and its comparisons follow Carlini et al. 2019, "On Evaluating Adversarial Robustness" (arXiv:1902.06705),
and Athalye et al. 2018 (arXiv:1802.00420): nothing at radius 0, little by noise, more by more steps, everything in an
unbounded ball, and nothing by queries that gradients do not find.
"""

import copy
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor, nn
from tqdm import tqdm

from robusteval.attacks import ATTACKS, Attack, AttackOutcome, Passes, drive
from robusteval.attacks.flags import IMAGES
from robusteval.attacks.norms import NormName, column
from robusteval.attacks.oracle import predict, steady
from robusteval.core.errors import InputError
from robusteval.core.precision import full_float32
from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.engine import symptoms
from robusteval.engine.ladder import Rung, compared
from robusteval.engine.plan import Settings
from robusteval.engine.readings import normalisation
from robusteval.engine.sources import ModelSource
from robusteval.engine.suite import Samples
from robusteval.engine.symptoms import Finding, Patient
from robusteval.models.fuse import evaluation_form

Share = Literal["all", "left"]

LADDER: Mapping[str, tuple[str, Share]] = {
    "eps=0": ("fgsm(eps=0, norm={norm!r})", "all"),
    "noise": ("noise(eps={eps}, norm={norm!r}, draws=10)", "all"),
    "FGSM": ("fgsm(eps={eps}, norm={norm!r})", "all"),
    "PGD": ("pgd(eps={eps}, norm={norm!r}, steps=20)", "all"),
    "APGD": ("apgd(eps={eps}, norm={norm!r}, steps=100)", "left"),
    "APGD-T": ("apgd(eps={eps}, norm={norm!r}, loss='t', steps=20, targets=3)", "left"),
    "Square": ("square(eps={eps}, norm={norm!r}, n_queries=100)", "left"),
    "unbounded": ("pgd(eps={whole}, norm={norm!r}, steps=20, random_start=False)", "all"),
}
"""Rungs by name: the attack, and whether it meets all images or those that gradients have left so far."""

_NAN_REMEDY = "Look for a division, a root or a logarithm in the model that images near the clean ones reach."

MOST_LEFT = 48
"""Images that the costly rungs meet at most: one pass, and a resolution of 2%."""


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
        if beyond := _unanswered_nearby(patient, climb, rng):
            return Examination((*found, *beyond), (clean,))
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
    return Examination(_distinct((*found, *compared(ladder, patient.chance))), tuple(ladder))


def attacks(eps: str, norm: NormName, size: int) -> dict[str, tuple[Attack, Share]]:
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


def _unanswered_nearby(patient: Patient, climb: Mapping[str, tuple[Attack, Share]], rng: Stream) -> list[Finding]:
    """NaN in the ball, which no attack would take for broken: a search leaves such points out."""
    if "noise" not in climb:
        return []
    (attack, _), (x, _, ids) = climb["noise"], (tensor[:IMAGES] for tensor in patient.batch)
    radius = torch.full(ids.shape, attack.radius, dtype=torch.float64, device=ids.device)
    offsets = attack.ball.draw(rng.stream("nearby"), ids, x.shape[1:], torch.zeros_like(ids))
    near = (x + column(radius.to(x.dtype)) * offsets).clamp(0, 1)
    bad = int((~predict(patient.model, near, patient.passes.batch_size).isfinite()).any(dim=1).sum())
    if bad == 0:
        return []
    says = f"The model answers {bad} of {len(x)} images with NaN or infinity once noise of the radius is added."
    return [Finding("nan-output", "error", says, _NAN_REMEDY)]


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
    return Finding("nan-output", "error", f"The ladder ends at {name}: {error}.", _NAN_REMEDY)


def _distinct(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """One finding of a name, the first; a changed verdict at radius 0 says why where that is known."""
    unsteady = any(finding.name in ("randomness", "batch") and finding.severity != "ok" for finding in findings)
    named: dict[str, Finding] = {}
    for finding in findings:
        named.setdefault(finding.name, finding)
    if unsteady and "eps=0" in named and named["eps=0"].severity != "ok":
        says = f"{named['eps=0'].says[:-1]}, since the model's outputs vary."
        named["eps=0"] = replace(named["eps=0"], says=says)
    return tuple(named.values())
