"""What is wrong with a model that shows before any attack: its outputs, its company, its gradients, its accuracy.

Sources: Athalye et al. 2018, arXiv:1802.00420; Carlini et al. 2019, arXiv:1902.06705; Croce and Hein 2020,
arXiv:2003.01690. Each symptom is a function of a patient that gives a `Finding`.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from robusteval.attacks import Passes
from robusteval.attacks.flags import IMAGES, REPEATS, Tally, probabilities, raised, randomised
from robusteval.attacks.losses import cross_entropy, margin_loss
from robusteval.attacks.oracle import Oracle
from robusteval.core.matching import match
from robusteval.core.statistics import wilson
from robusteval.core.types import Batch

Severity = Literal["error", "warning", "ok"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: what it is about.
        severity: `error`: numbers of this model cannot be believed; `warning`: they need care; `ok`: nothing is wrong.
        says: a sentence with the numbers.
        remedy: what to do; empty where nothing is wrong.
    """

    name: str
    severity: Severity
    says: str
    remedy: str = ""


class Patient(NamedTuple):
    """A model under examination.

    Attributes:
        model: the original, images in [0, 1] to logits, in the mode it is used in.
        form: what is differentiated.
        batch: clean images, labels and ids, n of them.
        classes: that the labels tell apart.
        passes: sizes of batches.
        clean: logits of the original at the images [n, k].
    """

    model: nn.Module
    form: nn.Module
    batch: Batch
    classes: int
    passes: Passes
    clean: Tensor

    @property
    def correct(self) -> Tensor:
        """Which images the model gets right [n]."""
        return self.clean.argmax(dim=1) == self.batch.y

    @property
    def chance(self) -> float:
        """The accuracy of guessing."""
        return 1 / self.classes


def unanswered(patient: Patient) -> list[Finding]:
    """Logits that are no numbers."""
    bad, n = int((~patient.clean.isfinite()).any(dim=1).sum()), len(patient.clean)
    if bad == 0:
        return []
    return [
        Finding(
            "output",
            "error",
            f"The model answers {bad} of {n} clean images with NaN or infinity, so nothing else was looked at.",
            "Look for weights that diverged in training, or for a division or a logarithm of 0 in the model.",
        )
    ]


def output(patient: Patient) -> Finding:
    """Probabilities, their logarithms, or logits."""
    logits, n = patient.clean, len(patient.clean)
    if bool(probabilities(logits).all()):
        return Finding(
            "output",
            "error",
            f"The model answers with probabilities, not logits: all {n} outputs are non-negative and sum to 1, and "
            "gradients vanish where it is sure.",
            "Take the last softmax out of the model, or attack its logarithm.",
        )
    if bool((logits <= 0).all()) and bool((logits.logsumexp(dim=1).abs() < 1e-4).all()):
        return Finding("output", "ok", f"All {n} outputs are log-probabilities, which do no harm.")
    return Finding("output", "ok", "The outputs are logits.")


def randomness(patient: Patient) -> Finding:
    """Whether the same pass gives the same answer."""
    oracle, x = Oracle(patient.model, patient.passes.fixed), patient.batch.x[:IMAGES]
    outputs = torch.stack([oracle.logits(x) for _ in range(1 + REPEATS)])
    shown, flips = randomised(outputs), (outputs.argmax(dim=2) != outputs[0].argmax(dim=1)).any(dim=0)
    if not bool(shown.any()):
        return Finding("randomness", "ok", f"{len(outputs)} passes of {len(x)} images gave the same outputs.")
    dropouts = [module for module in patient.model.modules() if isinstance(module, nn.modules.dropout._DropoutNd)]
    cause = ": dropout is in train mode" if any(module.training for module in dropouts) else ""
    return Finding(
        "randomness",
        "error",
        f"The model answers at random{cause}: {int(shown.sum())} of {len(x)} images got other outputs in "
        f"{len(outputs)} equal passes, and {int(flips.sum())} of them another class.",
        "Call model.eval() before the model is exported; where the randomness is wanted, attack the mean over many "
        "passes (expectation over transformation), and judge over several.",
    )


def company(patient: Patient) -> Finding:
    """Whether an image gets the same answer whatever stands beside it in the batch."""
    half = IMAGES // 2
    x = patient.batch.x[:half]
    others = patient.batch.x[torch.arange(half, half + len(x), device=x.device) % len(patient.batch.x)]
    # Rows of one number, so that all passes round in the same way.
    beside = {"other images": others, "black images": torch.zeros_like(x), "their negatives": 1 - x}
    outputs = torch.stack([_logits(patient.model, torch.cat([x, rows]))[: len(x)] for rows in beside.values()])
    shown = randomised(outputs)
    if not bool(shown.any()):
        return Finding("batch", "ok", f"{len(x)} images get the same outputs whatever else is in the batch.")
    norms = [module for module in patient.model.modules() if isinstance(module, _BatchNorm)]
    live = any(module.training or module.running_mean is None for module in norms)
    cause = ", since batch normalisation is in train mode" if live else ", as batch normalisation in train mode does"
    flips = int((outputs.argmax(dim=2) != outputs[0].argmax(dim=1)).any(dim=0).sum())
    largest = float((outputs.amax(dim=0) - outputs.amin(dim=0)).max())
    return Finding(
        "batch",
        "error",
        f"The output of an image depends on the others in its batch{cause}: of {len(x)} images {int(shown.sum())} got "
        f"other outputs beside {', '.join(list(beside)[:-1])} or {list(beside)[-1]}, by up to {largest:.2g}, "
        f"and {flips} another class.",
        "Call model.eval() before the model is used or exported, and keep running statistics in batch normalisation.",
    )


def _logits(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(x)
    return logits


def gradients(patient: Patient) -> list[Finding]:
    """Gradients that are zero, tiny or no numbers at the images that the model gets right."""
    rows = patient.correct.nonzero()[:IMAGES, 0]
    if len(rows) == 0:
        return []
    x, y = patient.batch.x[rows], patient.batch.y[rows]
    oracle = Oracle(patient.form, patient.passes.fixed)
    sizes = [oracle.gradient(x, y, loss).gradient.abs().flatten(1).amax(dim=1) for loss in (margin_loss, cross_entropy)]
    zero = (sizes[0] == 0) & (sizes[1] == 0)
    signs = {
        "nan-gradients": Tally(oracle.bad, 2 * len(x)),
        "zero-gradients": Tally.over(zero),
        "tiny-gradients": Tally.over(~zero & (sizes[0] < 1e-9)),
    }
    median = float(sizes[0].median())
    said = {
        "nan-gradients": f"{oracle.bad} of {2 * len(x)} gradients are NaN or infinite somewhere, so attacks take 0.",
        "zero-gradients": f"No gradient reaches the pixels of {int(zero.sum())} of {len(x)} images, with cross-entropy "
        "and with the margin: attacks that follow gradients are blind there.",
        "tiny-gradients": f"Gradients are tiny: the largest entry has the median {median:.1g} over {len(x)} images.",
    }
    found = [Finding(name, _GRADIENTS[name][0], said[name], _GRADIENTS[name][1]) for name in raised(signs)]
    return found or [
        Finding("gradients", "ok", f"Gradients reach the pixels: their largest entry has the median {median:.2g}.")
    ]


_GRADIENTS: dict[str, tuple[Severity, str]] = {
    "nan-gradients": (
        "error",
        "Look for a root, a quotient or a logarithm at 0 in the model, and keep its argument away from 0.",
    ),
    "zero-gradients": (
        "error",
        "Attack the model without the step that cuts the gradient (rounding, detach, argmax, saturation), or with the "
        "identity for its backward pass; until then believe black-box attacks alone.",
    ),
    "tiny-gradients": (
        "warning",
        "Take the factor that shrinks them out of the model, or divide its logits by a temperature: attacks that take "
        "signs still work, others stand still.",
    ),
}


def accuracy(patient: Patient) -> list[Finding]:
    """Clean accuracy at the level of guessing, and classes in another order."""
    right, n = int(patient.correct.sum()), len(patient.clean)
    rate, present = wilson(right, n), len(set(patient.batch.y.tolist()))
    found = [] if present == patient.classes else _few_classes(patient, present)
    if (order := _order(patient)) is not None:
        return [*found, order]
    if rate.low <= patient.chance:
        says = f"Clean accuracy is that of guessing: {right} of {n} images right ({_percent(rate.value)}) with "
        remedy = "See that the weights were loaded, and that data, labels and class order are those of its training."
        return [*found, Finding("accuracy", "error", f"{says}{patient.classes} classes.", remedy)]
    interval = f"{_percent(rate.low)} to {_percent(rate.high)}"
    return [
        *found,
        Finding("accuracy", "ok", f"Clean accuracy is {_percent(rate.value)} ({interval}), {right} of {n}."),
    ]


def _few_classes(patient: Patient, present: int) -> list[Finding]:
    if present > 1:
        return []
    says = f"All {len(patient.batch.y)} images are of one class, so accuracy says little: the data are sorted."
    return [Finding("samples", "warning", says, "Take more samples, or shuffle the data.")]


def _order(patient: Patient) -> Finding | None:
    """Whether renaming the classes makes the model much better than it is."""
    width = patient.clean.shape[1]
    if width > 1000:
        return None
    predicted = patient.clean.argmax(dim=1)
    pairs = torch.bincount(patient.batch.y * width + predicted, minlength=width * width).reshape(width, width).cpu()
    renamed = match(-pairs.to(torch.float64))
    right, n = int(pairs.diagonal().sum()), len(predicted)
    better = int(pairs[torch.arange(width), renamed].sum())
    moved = [label for label in range(width) if int(renamed[label]) != label and int(pairs[label, renamed[label]]) > 0]
    # An assignment chosen by the images themselves fits some by luck: it must explain most of them.
    if better < 0.5 * n or better - right < max(0.1 * n, 10) or not moved:
        return None
    first = moved[0]
    return Finding(
        "class-order",
        "error",
        f"The classes are in another order: {right} of {n} images are right as they are labelled, {better} if "
        f"{len(moved)} classes are renamed; the data's class {first} is the model's {int(renamed[first])}.",
        "Give the classes the order of the model's training, which for folders is that of their names.",
    )


def _percent(rate: float) -> str:
    return f"{100 * rate:.1f}%"
