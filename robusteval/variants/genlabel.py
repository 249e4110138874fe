"""GenLabel: input mixup whose labels are partly those of a generative model (Sohn et al. 2022, arXiv:2201.02354)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from robusteval.core.errors import InputError, require
from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.data import Split
from robusteval.models.classifier import Classifier
from robusteval.models.fuse import evaluation_form
from robusteval.variants.densities import Gaussians, Kernels, Moments, moments, posterior
from robusteval.variants.fitting import Fitting, Tensors
from robusteval.variants.mixing import check_alpha
from robusteval.variants.mixup import Mixup
from robusteval.variants.variant import FittedVariant, InputMixer, MixedBatch

_WARMUP = 5


@dataclass(frozen=True)
class Genlabel(FittedVariant):
    """The inputs are mixup's; the label is gamma y_gen + (1 - gamma) y_mix.

    y_gen is the posterior of class densities at the mixed input, with equal priors. The paper chooses gamma on
    held-out data, from 0 to 1 in steps of 0.2; the default here is the middle. That image densities belong in feature
    space is from memory of the paper; its published code has them for vectors alone.

    Attributes:
        alpha: of Beta(alpha, alpha).
        gamma: the part of y_gen in the label; 0 is mixup.
        density: a Gaussian for each class, or Gaussian kernels around its samples, whose cost grows with their number.
        space: where the densities live: `features` are what the last linear layer takes, in an ERM network that is
            trained first and frozen then; `inputs` are the pixels. None is features for images, inputs for vectors.
        warmup: of features: epochs of the ERM network; None is 5.
        covariance: one shared by all classes (`tied`), or one for each (`full`); None is tied for features, full for
            inputs.
        shrinkage: the share of the covariance that is replaced by that of a sphere; None is 0.1 for features, whose
            covariance is nearly singular, and 1e-4 for inputs.
        bandwidth: of kernels: what scales the standard deviation of a class to that of its kernels, not a length;
            None is Scott's n^(-1 / (d + 4)).
        labels: `all` classes share the mass of y_gen, or only the `top2`, as in the official code for toy data.
        per_sample: whether every pair draws its own lambda.
    """

    name: ClassVar[str] = "genlabel"

    alpha: float = 1.0
    gamma: float = 0.5
    density: Literal["gaussian", "kde"] = "gaussian"
    space: Literal["features", "inputs"] | None = None
    warmup: int | None = None
    covariance: Literal["tied", "full"] | None = None
    shrinkage: float | None = None
    bandwidth: float | None = None
    labels: Literal["all", "top2"] = "all"
    per_sample: bool = False

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        require(0 <= self.gamma <= 1, "gamma", "must be in [0, 1]", self.gamma)
        require(self.warmup is None or self.warmup >= 1, "warmup", "must be at least 1", self.warmup)
        self._check_warmup(self.space != "inputs")
        require(self.shrinkage is None or 0 <= self.shrinkage <= 1, "shrinkage", "must be in [0, 1]", self.shrinkage)
        require(self.bandwidth is None or self.bandwidth > 0, "bandwidth", "must be above 0", self.bandwidth)
        require(self.bandwidth is None or self.density == "kde", "bandwidth", "needs density='kde'", self.bandwidth)

    def rehearse(self, model: nn.Module, batch: Batch, classes: int, rng: Stream) -> None:
        """Refuse `warmup` for vectors, unless they have features, and a network that has none."""
        learnt = self._learnt(batch.x.shape)
        self._check_warmup(learnt)
        if learnt:
            penultimate(model, batch.x[:32])

    def prepared(self, fitting: Fitting) -> InputMixer:
        """Input mixup with the class densities of the training part.

        Raises:
            InputError: there is only one class, the network does not end in a linear layer, a class has no spread, or
                `warmup` is set for densities of vectors.
        """
        train = fitting.train
        present = int(torch.bincount(train.labels).count_nonzero())
        if present < 2:
            raise InputError(f"variant={self.spec!r}: needs training samples of two classes or more, not {present}")
        learnt = self._learnt(train.shape)
        self._check_warmup(learnt)
        covariance = self.covariance or ("tied" if learnt else "full")
        example, warmup = train.batch(slice(32)).x.to(fitting.device), self.warmup or _WARMUP
        space = penultimate(fitting.erm(warmup), example) if learnt else nn.Flatten()

        def fitted() -> Tensors:
            points = _points(space, train, fitting.device)
            found = moments(points, train.labels, len(train.classes), covariance == "tied")
            return found._asdict() if self.density == "gaussian" else {**found._asdict(), "points": points}

        place = ("features", fitting.erm.key, warmup) if learnt else ("inputs",)
        part = fitting.part(f"class-{self.density}", (*place, covariance), fitted)
        part = {name: tensor.to(fitting.device) for name, tensor in part.items()}
        return _Relabelled(self, space, self._density(part, train.labels.to(fitting.device), 0.1 if learnt else 1e-4))

    def _learnt(self, shape: tuple[int, ...]) -> bool:
        """Whether the densities of samples of shape [..., h, w] live in features."""
        return self.space == "features" or (self.space is None and shape[-2:] != (1, 1))

    def _check_warmup(self, learnt: bool) -> None:
        require(self.warmup is None or learnt, "warmup", "needs space='features'; inputs have no network", self.warmup)

    def _density(self, part: Tensors, labels: Tensor, shrinkage: float) -> Gaussians | Kernels:
        """The densities from a fitted part, shrunk by `shrinkage` where the settings leave it open."""
        found = Moments(part["counts"], part["means"], part["covariances"])
        shrinkage = shrinkage if self.shrinkage is None else self.shrinkage
        if self.density == "gaussian":
            return Gaussians.of(found, shrinkage)
        return Kernels.of(part["points"], labels, found, shrinkage, self.bandwidth)


@dataclass(frozen=True)
class _Relabelled(InputMixer):
    """GenLabel with its fitted parts.

    Attributes:
        settings: the variant.
        space: a frozen module from images [n, c, h, w] to points [n, d].
        density: of the classes at points.
    """

    settings: Genlabel
    space: nn.Module
    density: Gaussians | Kernels

    def mix(self, batch: Batch, classes: int, rng: Stream) -> MixedBatch:
        """Mix as input mixup does, then blend the labels."""
        pairs = Mixup(self.settings.alpha, self.settings.per_sample).mix(batch, classes, rng)
        generated = self.generated(pairs.x).to(pairs.targets.dtype)
        return pairs._replace(targets=torch.lerp(pairs.targets, generated, self.settings.gamma))

    def notes(self, batch: Batch, mixed: MixedBatch) -> Mapping[str, Tensor]:
        """The mean entropy of the labels in nats: with alpha 1 mixup's is half the share of pairs of two classes."""
        return {"label_entropy": torch.special.entr(mixed.targets).sum(dim=1).mean()}

    @torch.no_grad()
    def generated(self, x: Tensor) -> Tensor:
        """y_gen [n, k] float64 of images x [n, c, h, w]."""
        with torch.autocast(x.device.type, enabled=False):  # the densities were fitted on features in float32
            return posterior(self.density(self.space(x)), 2 if self.settings.labels == "top2" else None)


@torch.no_grad()
def penultimate(model: nn.Module, example: Tensor) -> nn.Module:
    """A frozen copy of a network, in its evaluation form, that gives what its last linear layer takes, [n, d].

    Args:
        model: stays as it is.
        example: images [n, c, h, w] on the model's device.

    Raises:
        InputError: the logits are not those of a linear layer.
    """
    frozen = evaluation_form(model, example).model
    outputs: dict[str, Tensor] = {}

    def hook(name: str, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        return module.register_forward_hook(lambda _, __, output: outputs.update({name: output}))

    hooks = [hook(name, module) for name, module in frozen.named_modules() if isinstance(module, nn.Linear)]
    logits = frozen(example)
    for handle in hooks:
        handle.remove()
    last = [name for name, output in outputs.items() if torch.equal(output, logits)]
    if not last:
        said = "genlabel needs a network that ends in a linear layer, or space='inputs'"
        raise InputError(f"architecture={_word(model)!r}: {said}")
    frozen.set_submodule(last[-1], nn.Identity())
    return frozen


@torch.no_grad()
def _points(space: nn.Module, train: Split, device: str) -> Tensor:
    """The whole training part in the space of the densities, [n, d] on the CPU."""
    starts = range(0, len(train), 500)
    return torch.cat([space(train.batch(slice(start, start + 500)).x.to(device)).cpu() for start in starts])


def _word(model: nn.Module) -> str:
    return type(model.network if isinstance(model, Classifier) else model).__name__
