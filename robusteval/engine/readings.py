"""Is the model read as it was trained? Its clean accuracy under other normalisations of the same images.

A network that gets images of another mean, scale or channel order is often half right, which looks like a model that
is merely bad. Each other reading is compared with the given one by the exact test of McNemar 1947.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor, nn

from robusteval.attacks.oracle import predict
from robusteval.core.paired import mcnemar
from robusteval.engine.symptoms import Finding, Patient
from robusteval.models.classifier import Classifier

Kind = Literal["missing", "wrong", "needless", "twice", "doubled", "bytes", "reversed"]
Numbers = tuple[float, ...]

USUAL: Mapping[str, tuple[Numbers, Numbers]] = MappingProxyType(
    {
        "CIFAR-10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
        "CIFAR-100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
        "ImageNet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        "Fashion-MNIST": ((0.2860,), (0.3530,)),
        "MNIST": ((0.1307,), (0.3081,)),
        "pixels in [-1, 1]": ((0.5,), (0.5,)),
    }
)
"""Means and standard deviations that people train with, of pixels in [0, 1]."""

LEVEL = 0.01
"""Another reading is clearly better where chance explains it with less than this, over all readings."""


@dataclass(frozen=True)
class Reading:
    """A way to hand images to a network: (x - mean) / std, perhaps with the channels reversed.

    Attributes:
        kind: what is wrong where this one is better.
        name: whose constants they are.
        mean: per channel, or one for all.
        std: likewise.
        flip: whether channels are in the order blue, green, red.
    """

    kind: Kind
    name: str
    mean: Numbers
    std: Numbers
    flip: bool = False


class _Read(nn.Module):
    """The network behind a reading."""

    def __init__(self, network: nn.Module, reading: Reading, example: Tensor) -> None:
        super().__init__()
        self.network, self.flip = network, reading.flip
        self.mean, self.std = (example.new_tensor(values).view(1, -1, 1, 1) for values in (reading.mean, reading.std))

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images in [0, 1]."""
        logits: Tensor = self.network(((x.flip(1) if self.flip else x) - self.mean) / self.std)
        return logits


def normalisation(patient: Patient) -> Finding:
    """Whether the network does clearly better when its images are normalised in another way."""
    network, mean, std = peeled(patient.model)
    others = list(readings(mean, std, patient.batch.x))
    right = torch.stack([_right(patient, network, reading) for reading in others])
    given, n = int(patient.correct.sum()), len(patient.correct)
    likely = torch.tensor([_chance(patient.correct, row) for row in right])
    better = (likely * len(others) < LEVEL) & (right.sum(dim=1).cpu() > given)
    counts = right.sum(dim=1).cpu()
    if not bool(better.any()):
        says = f"{given} of {n} images are right as the model is given, and at best {int(counts.max())} under "
        return Finding("normalisation", "ok", f"{says}{len(others)} other normalisations: none is clearly better.")
    best = int(torch.where(better, counts, -1).argmax())
    reading, found = others[best], int(counts[best])
    what, remedy = _sentences(reading)
    figures = f"{found} of {n} clean images are right then, {given} as the model is given"
    chance = max(float(likely[best]), 1e-99)
    return Finding("normalisation", "error", f"{what}: {figures} (McNemar p = {chance:.0e}).", remedy)


def peeled(model: nn.Module) -> tuple[nn.Module, Numbers, Numbers]:
    """The network inside a model, and the normalisation before it: none that is known where it is no classifier."""
    if not isinstance(model, Classifier):
        return model, (0.0,), (1.0,)
    mean, std = (tuple(values.flatten().tolist()) for values in (model.mean, model.std))
    return model.network, mean, std


def readings(mean: Numbers, std: Numbers, x: Tensor) -> Iterator[Reading]:
    """Every other reading of images x [n, c, h, w] than the given one.

    >>> [reading.kind for reading in readings((0.5,), (0.5,), torch.zeros(1, 1, 8, 8))][:3]
    ['needless', 'wrong', 'wrong']
    """
    channels = x.shape[1]
    plain = mean == (0.0,) * len(mean) and std == (1.0,) * len(std)
    usual = {name: values for name, values in USUAL.items() if len(values[0]) in (1, channels)}
    if len(x) > 1:
        usual["these images"] = _own(x)
    others = {name: values for name, values in usual.items() if not _near(values, (mean, std))}
    if not plain:
        yield Reading("needless", "", (0.0,), (1.0,))
    for name, values in others.items():
        yield Reading("missing" if plain else "wrong", name, *values)
    if not plain:
        pairs = list(zip(mean, std, strict=True))
        yield Reading("twice", "", tuple(m + m * s for m, s in pairs), tuple(s * s for _, s in pairs))
    else:
        for name, (m, s) in others.items():
            undone = tuple(-a / b for a, b in zip(m, s, strict=True))
            yield Reading("doubled", name, undone, tuple(1 / b for b in s))
    yield Reading("bytes", "", (0.0,), (1 / 255,))
    if channels == 3:
        yield Reading("reversed", "", mean, std, flip=True)


def _chance(first: Tensor, second: Tensor) -> float:
    """How likely two ways to be right on the same samples, [n] each, differ so much by chance."""
    return mcnemar(int((first & ~second).sum()), int((~first & second).sum()))


def _right(patient: Patient, network: nn.Module, reading: Reading) -> Tensor:
    model, (x, y, _) = _Read(network, reading, patient.batch.x), patient.batch
    return predict(model, x, patient.passes.batch_size, patient.passes.fixed).argmax(dim=1) == y


def _own(x: Tensor) -> tuple[Numbers, Numbers]:
    std, mean = torch.std_mean(x.to(torch.float64), dim=(0, 2, 3))
    return tuple(round(v, 4) for v in mean.tolist()), tuple(round(max(v, 1e-3), 4) for v in std.tolist())


def _near(one: tuple[Numbers, Numbers], other: tuple[Numbers, Numbers]) -> bool:
    width = max(len(values) for values in (*one, *other))
    pairs = zip(_wide(one, width), _wide(other, width), strict=True)
    return all(abs(a - b) < 1e-3 for a, b in pairs)


def _wide(values: tuple[Numbers, Numbers], width: int) -> list[float]:
    return [number for part in values for number in (part if len(part) == width else part * width)]


def _sentences(reading: Reading) -> tuple[str, str]:
    """What is wrong, and what to do."""
    flags = f"--mean {_listed(reading.mean)} --std {_listed(reading.std)}"
    constants = f"the mean {_listed(reading.mean)} and std {_listed(reading.std)} of {reading.name}"
    match reading.kind:
        case "missing":
            return f"Normalisation is missing: give the network {constants}", f"Describe the checkpoint with {flags}."
        case "wrong":
            return f"The normalisation is wrong: give the network {constants}", f"Describe the checkpoint with {flags}."
        case "needless":
            return (
                "Normalisation is doubled, or was never part of the training: hand the network its images in [0, 1]",
                "Leave out --mean and --std, or take one of the two normalisations out of the model.",
            )
        case "twice":
            return (
                "The network was trained on images that were normalised twice: normalise them twice",
                f"Describe the checkpoint with {flags}.",
            )
        case "doubled":
            return (
                f"Normalisation is doubled: undo it once, with the constants of {reading.name}",
                "Take one of the two normalisations out of the model.",
            )
        case "bytes":
            return "The network wants pixels from 0 to 255: multiply them by 255", f"Describe it with {flags}."
        case "reversed":
            return (
                "The network wants its channels in the order blue, green, red: reverse them",
                "Reverse the channels as the first step inside the model.",
            )


def _listed(values: Sequence[float]) -> str:
    return ",".join(f"{value:.6g}" for value in values)
