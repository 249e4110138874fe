"""Every broken model gets its finding, and what is not broken gets none."""

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from robusteval.core.errors import InputError, SpecError
from robusteval.core.types import Batch
from robusteval.data import DATA, Split
from robusteval.engine import doctor
from robusteval.engine.doctor import Examination, attacks, examine
from robusteval.engine.ladder import Rung, compared
from robusteval.engine.readings import USUAL
from robusteval.models.classifier import Classifier
from robusteval.models.foreign import Description
from robusteval.models.loading import describe, load

BUNDLED = Path(__file__).parents[2] / "checkpoints" / "fashion-mnist"


@pytest.fixture(scope="module")
def fashion() -> Split:
    return DATA.parse("fashion-mnist").split("test")


@pytest.fixture(scope="module")
def batch(fashion: Split) -> Batch:
    return fashion.batch(slice(0, 32))


@pytest.fixture(scope="module")
def bundled(fashion: Split) -> Callable[[str], Classifier]:
    def of(stem: str) -> Classifier:
        path = BUNDLED / f"{stem}.safetensors"
        model = load(path, describe(path, Description()), fashion.shape, fashion.classes).model
        assert isinstance(model, Classifier)
        return model

    return of


@pytest.fixture(scope="module")
def erm(bundled: Callable[[str], Classifier]) -> Classifier:
    return bundled("erm-seed0")


@pytest.fixture
def no_ladder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LADDER", {})


class Wrapped(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network


class ZeroGradient(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        logits = self.network(x)
        return logits.detach() + 0 * logits


class QuantisedInput(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        return self.network((x * 15).round() / 15)


class SoftmaxOutput(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        return self.network(x).softmax(dim=1)


class LogSoftmaxOutput(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        return self.network(x).log_softmax(dim=1)


class NoiseLayer(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        return self.network(x + 0.05 * torch.randn_like(x))


class RandomResize(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[-1]
        larger = size + int(torch.randint(1, 5, ()))
        resized = functional.interpolate(x, size=(larger, larger), mode="nearest")
        top, left = (int(torch.randint(0, larger - size + 1, ())) for _ in range(2))
        return self.network(resized[:, :, top : top + size, left : left + size])


class RescaledGradient(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        return self.network(1e-12 * x + ((1 - 1e-12) * x).detach())


class NanGradient(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        return self.network(x.sqrt().square())


class Rippled(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        return self.network(x + 0.1 * torch.sin(1e5 * x))


class Standardised(Wrapped):
    """Normalises by the mean and deviation of its batch: batch normalisation in train mode that no mode tells."""

    def forward(self, x: Tensor) -> Tensor:
        return self.network(0.2861 + 0.3531 * (x - x.mean()) / x.std())


class NanOutput(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        return self.network(x) * torch.where(x.mean(dim=(1, 2, 3)) > 0.3, torch.nan, 1.0)[:, None]


class NanAway(Wrapped):
    """NaN beside the images, whose pixels are whole multiples of 1/255."""

    def forward(self, x: Tensor) -> Tensor:
        between = ((x * 255 - (x * 255).round()).abs() > 0.01).flatten(1).any(dim=1)
        return self.network(x) * torch.where(between, torch.nan, 1.0)[:, None]


class Renamed(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        return self.network(x).roll(1, dims=1)


class Constant(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        return self.network(x) * 1e-9 + torch.arange(10.0)


class Normalised(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        return self.network((x - 0.2861) / 0.3531)


def trained_mode(network: nn.Module) -> nn.Module:
    return copy.deepcopy(network).train()


def wrong(examination: Examination) -> dict[str, str]:
    assert examination.healthy is not bool(examination.wrong)
    return {finding.name: finding.severity for finding in examination.wrong}


def said(examination: Examination, name: str) -> str:
    (finding,) = [finding for finding in examination.findings if finding.name == name]
    return finding.says


# Which finding each control gets, and how grave it is.
CONTROLS = [
    (ZeroGradient, "zero-gradients", "error"),
    (ZeroGradient, "black-box", "error"),
    (ZeroGradient, "unbounded", "error"),
    (QuantisedInput, "zero-gradients", "error"),
    (SoftmaxOutput, "output", "error"),
    (NoiseLayer, "randomness", "error"),
    (RandomResize, "randomness", "error"),
    (RescaledGradient, "tiny-gradients", "warning"),
    (NanGradient, "nan-gradients", "error"),
    (Rippled, "surface", "warning"),
    (Standardised, "batch", "error"),
    (trained_mode, "batch", "error"),
    (NanOutput, "output", "error"),
    (NanAway, "nan-output", "error"),
    (Renamed, "class-order", "error"),
    (Constant, "accuracy", "error"),
]

_EXAMINED: dict[object, Examination] = {}


def examined(control: Callable[[nn.Module], nn.Module], network: nn.Module, batch: Batch) -> Examination:
    if control not in _EXAMINED:
        model = control(network)
        _EXAMINED[control] = examine(model if control is trained_mode else model.eval(), batch, 10)
    return _EXAMINED[control]


@pytest.mark.parametrize(
    ("control", "name", "severity"), [pytest.param(*row, id=f"{row[0].__name__}-{row[1]}") for row in CONTROLS]
)
def test_a_broken_model_gets_its_finding(control, name, severity, erm: Classifier, batch: Batch) -> None:
    assert wrong(examined(control, erm, batch))[name] == severity


@pytest.mark.parametrize("stem", ["erm-seed0", "mixup-seed0", "pgd-at-seed0"])
def test_nothing_is_wrong_with_a_bundled_checkpoint(stem, bundled, fashion: Split) -> None:
    examination = examine(bundled(stem), fashion.batch(slice(0, 200)), 10)
    assert wrong(examination) == {}
    names = [rung.name for rung in examination.ladder]
    assert names == ["clean", "eps=0", "noise", "FGSM", "PGD", "APGD", "APGD-T", "Square", "unbounded"]
    left = {rung.name: rung.left for rung in examination.ladder}
    assert left["clean"] == left["eps=0"] >= left["noise"] >= left["FGSM"] >= left["PGD"] >= left["unbounded"] == 0


def test_nothing_is_wrong_with_a_strangers_network(shared_data: Path) -> None:
    with np.load(shared_data / "cifar10-slice.npz") as arrays:
        x, y = (torch.from_numpy(arrays[f"test_{part}"][:100]) for part in ("images", "labels"))
    batch = Batch(x.permute(0, 3, 1, 2).float().div(255).contiguous(), y.long(), torch.arange(100))
    mean, std = USUAL["ImageNet"]
    given = Description(arch="resnet-cifar(depth=20)", data="cifar10", mean=mean, std=std)
    path = shared_data / "checkpoints" / "resnet20-12fca82f.th"
    model = load(path, describe(path, given), (3, 32, 32), tuple("0123456789")).model
    assert wrong(examine(model, batch, 10)) == {}
    assert isinstance(model, Classifier)
    bare = examine(Classifier(model.network), batch, 10)
    assert "Normalisation is missing" in said(bare, "normalisation")


def test_log_probabilities_do_no_harm(erm: Classifier, batch: Batch) -> None:
    examination = examine(LogSoftmaxOutput(erm).eval(), batch, 10)
    assert wrong(examination) == {}
    assert "log-probabilities" in said(examination, "output")


@pytest.mark.usefixtures("no_ladder")
@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (lambda net: Classifier(net, (0.0,), (255.0,)), "The normalisation is wrong"),
        (lambda net: Classifier(net, (0.2861,), (0.05,)), "The normalisation is wrong"),
        (lambda net: Classifier(Wide(net)), "The network wants pixels from 0 to 255"),
        (
            lambda net: Classifier(Classifier(net, (0.2861,), (0.3531,)), (0.2861,), (0.3531,)),
            "Normalisation is doubled",
        ),
        (lambda net: Doubled(net), "Normalisation is doubled: undo it once"),
    ],
    ids=["unscaled", "std", "bytes", "doubled", "doubled-inside"],
)
def test_a_wrong_normalisation_is_found(model, sentence: str, erm: Classifier, fashion: Split) -> None:
    examination = examine(model(erm.network).eval(), fashion.batch(slice(0, 200)), 10)
    assert wrong(examination)["normalisation"] == "error"
    assert said(examination, "normalisation").startswith(sentence)


class Wide(Wrapped):
    """Takes pixels from 0 to 255."""

    def forward(self, x: Tensor) -> Tensor:
        return self.network((x / 255 - 0.2861) / 0.3531)


class Doubled(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        return self.network(((x - 0.2861) / 0.3531 - 0.2861) / 0.3531)


@pytest.mark.usefixtures("no_ladder")
@pytest.mark.parametrize("stem", ["erm-seed0", "mixup-seed0"])
def test_a_missing_normalisation_is_found(stem: str, bundled, fashion: Split) -> None:
    examination = examine(Classifier(bundled(stem).network).eval(), fashion.batch(slice(0, 200)), 10)
    assert said(examination, "normalisation").startswith("Normalisation is missing")
    assert "of Fashion-MNIST" in said(examination, "normalisation")


@pytest.mark.usefixtures("no_ladder")
def test_one_class_alone_is_noted(erm: Classifier, fashion: Split) -> None:
    rows = (fashion.labels == 1).nonzero()[:64, 0]
    assert wrong(examine(erm, fashion.batch(rows), 10)) == {"samples": "warning"}


def test_the_model_stays_as_it_is(erm: Classifier, batch: Batch) -> None:
    model = trained_mode(erm)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    examine(model, Batch(*(tensor[:32] for tensor in batch)), 10)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_same_examination_twice(erm: Classifier, batch: Batch) -> None:
    few = Batch(*(tensor[:40] for tensor in batch))
    first, second = (examine(erm, few, 10, "4/255", seed=3, batch_size=16) for _ in range(2))
    assert first.findings == second.findings


@pytest.mark.parametrize(("norm", "missing"), [("linf", set()), ("l2", set()), ("l1", {"eps=0", "FGSM", "Square"})])
def test_rungs_of_a_norm(norm, missing: set[str]) -> None:
    rungs = attacks("1/2", norm, 4)
    assert set(doctor.LADDER) - set(rungs) <= missing
    assert rungs["unbounded"][0].radius == {"linf": 1, "l2": 2, "l1": 4}[norm]
    assert "eps=1/2" in rungs["PGD"][0].spec


def test_l1_is_examined(erm: Classifier, batch: Batch) -> None:
    examination = examine(erm, Batch(*(tensor[:32] for tensor in batch)), 10, "2", "l1")
    assert not any(finding.severity == "error" for finding in examination.findings)
    assert {"PGD", "APGD", "unbounded"} <= {rung.name for rung in examination.ladder}


@pytest.mark.parametrize(
    ("eps", "norm", "error"), [("8", "linf", InputError), ("x", "linf", SpecError), ("1", "l3", InputError)]
)
def test_a_wrong_radius_or_norm_is_refused(eps: str, norm, error, erm: Classifier, batch: Batch) -> None:
    with pytest.raises(error):
        examine(erm, batch, 10, eps, norm)


def test_a_ladder_that_stops_says_where(erm: Classifier, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise InputError("logits: must be finite, but are NaN or infinite for 1 of 3 images")

    monkeypatch.setattr(doctor, "drive", refuse)
    examination = examine(erm, batch, 10)
    assert wrong(examination) == {"nan-output": "error"}
    assert said(examination, "nan-output").startswith("The ladder ends at eps=0: logits: must be finite")


def rung(name: str, broken: int, met: int = 100, flags: tuple[str, ...] = (), start: int = 0) -> Rung:
    rows = torch.arange(start, start + met)
    return Rung(name, f"{name.lower()}()", rows, torch.arange(met) < broken, flags=flags)


SOUND = {
    "clean": rung("clean", 10),
    "eps=0": rung("eps=0", 10),
    "noise": rung("noise", 12),
    "FGSM": rung("FGSM", 40),
    "PGD": rung("PGD", 60),
    "APGD": rung("APGD", 2, 40, start=60),
    "Square": rung("Square", 0, 38, start=62),
    "unbounded": rung("unbounded", 100),
}


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        (None, None),
        (rung("eps=0", 11), "eps=0"),
        (rung("noise", 37), "noise"),
        (rung("FGSM", 63), "more-steps"),
        (rung("FGSM", 62), None),
        (rung("APGD", 16, 40, start=60), "steps"),
        (rung("APGD", 12, 40, start=60), None),
        (rung("APGD", 0, 40, ("loss-still-rising",), start=60), "steps"),
        (rung("PGD", 60, flags=("unstable",)), "surface"),
        (rung("PGD", 60, flags=("nan-gradients",)), "nan-gradients"),
        (rung("Square", 3, 38, start=62), "black-box"),
        (rung("Square", 2, 38, start=62), None),
        (rung("unbounded", 57), "larger-radius"),
        (rung("unbounded", 80), "unbounded"),
        (rung("unbounded", 98), None),
    ],
)
def test_what_rungs_say_beside_one_another(changed: Rung | None, name: str | None) -> None:
    ladder = SOUND if changed is None else {**SOUND, changed.name: changed}
    found = {finding.name for finding in compared(list(ladder.values()), 0.1) if finding.severity != "ok"}
    assert (name in found) if name else not found
    for finding in compared(list(ladder.values()), 0.1):
        assert finding.says.endswith(".")
        assert bool(finding.remedy) is (finding.severity != "ok")
