"""The attacks of torchattacks, judged like all others: `torchattacks:PGD(eps=8/255)` (Kim 2020, arXiv:2010.01950).

`eps` and `norm` say whose ball counts and are passed on where the attack has them; all other arguments are its own. A
point outside the ball counts for nothing. The foreign attack moves a whole batch at a time, with random numbers for the
batch: the same batch gives the same points, another batch size or order other ones.
"""

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from robusteval.attacks.attack import Fresh, Goal, Search, State
from robusteval.attacks.losses import margin
from robusteval.attacks.norms import NORMS, NormName, column
from robusteval.attacks.oracle import Oracle
from robusteval.core.component import Provider
from robusteval.core.errors import SpecError, nearest, require
from robusteval.core.rng import Stream

_NORMS: Mapping[NormName, str] = {"linf": "Linf", "l2": "L2", "l1": "L1"}
_OURS = ("eps", "norm")
_FAULTS = (TypeError, ValueError, LookupError, AssertionError, NotImplementedError)
"""What its constructors raise on an argument that they do not take."""

Images = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Torchattacks(Provider, Search):
    """An attack of torchattacks; eps is needed, and norm stands for that of the ball.

    Attributes:
        target: the attack's name there.
        arguments: eps, norm, and those of the attack's constructor.
        eps: radius of the ball in pixel units of [0, 1]; several only where the attack knows no radius.
        norm: whose ball it is.
    """

    name: ClassVar[str] = "torchattacks"
    norms: ClassVar[tuple[NormName, ...]] = tuple(NORMS)
    goal: ClassVar[Goal] = "distance"
    climbs: ClassVar[bool] = False

    eps: float | tuple[float, ...] = field(init=False)
    norm: NormName = field(init=False, default="linf")

    def __post_init__(self) -> None:
        given, known = dict(self.arguments), self._known
        allowed = {*known, *_OURS}
        for key in given:
            if key not in allowed:
                raise SpecError(f"spec '{self.spec}': {self.target} has no parameter {key!r}; {nearest(key, allowed)}")
        if "eps" not in given:
            raise SpecError(f"spec '{self.spec}': {self.target} needs eps, as in {self.name}:{self.target}(eps=...)")
        for key in _OURS:
            object.__setattr__(self, key, given.get(key, "linf"))
        self._check()
        super().__post_init__()
        several = "must be one number: the attack looks at one radius"
        require(len(self.radii) == 1 or "eps" not in known, "eps", several, self.eps)
        self._made(_Asked(Oracle(nn.Identity()), torch.device("cpu")), seed=0, classes=10)

    @property
    def budget(self) -> int:
        """The foreign attack's iterations are its own affair: here they are one."""
        return 1

    def notes(self, classes: int) -> tuple[str, ...]:
        """What its points depend on."""
        return (f"{self}: moves whole batches, so that another batch size gives other points",)

    def start(self, model: Oracle, fresh: Fresh, rng: Stream) -> State:
        """Start at the image."""
        return State.at(fresh.x, fresh)

    def advance(self, model: Oracle, state: State, rng: Stream) -> State:
        """Run the foreign attack on the batch, and see the points that it found."""
        stream = rng.stream(self.target, *state.ids.tolist())
        found = state.moved(self._found(model, state, stream))
        logits = model.logits(found.x)
        wrong = margin(logits, found.y) < 0
        return replace(
            found,
            best=torch.where(column(wrong), found.x, found.best),
            loss=torch.where(wrong, -self.size(found.x, found.x0), found.loss),
            reached=torch.where(wrong, found.iteration, found.reached),
        )

    def close(self, model: Oracle, state: State) -> State:
        """The points were seen when they were found."""
        return state

    def _found(self, model: Oracle, state: State, stream: Stream) -> Tensor:
        """The images that it returns, in [0, 1]; the clean one where one is no number."""
        x0, device = state.x0, state.x0.device
        classes = model.logits(x0[:1]).shape[1] if "n_classes" in self._known else 0
        with _seeded(stream, device), torch.enable_grad():
            attack = self._made(_Asked(model, device), stream.key % 2**32, classes)
            found = attack(x0.clone(), state.y.clone()).detach().to(x0.dtype)
        numbers = found.isfinite().flatten(1).all(dim=1)
        return torch.where(column(numbers), found.clamp(0, 1), x0)

    def _made(self, model: "_Asked", seed: int, classes: int) -> Images:
        """The foreign attack on a model.

        Raises:
            SpecError: it does not take its arguments.
        """
        values = {"seed": seed, "n_classes": classes, **dict(self.arguments)}
        values |= {"norm": _NORMS[self.norm], "eps": float(self.radius)}
        try:
            made: Images = _attacks()[self.target](model, **{key: values[key] for key in self._known if key in values})
        except _FAULTS as error:
            raise SpecError(f"spec '{self.spec}': {self.target}: {error}") from None
        return made

    def _check(self) -> None:
        """The types of eps and norm, which for other attacks the registry checks."""
        eps = self.eps if isinstance(self.eps, tuple) else (self.eps,)
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in eps)
        for key, fits, rule in (
            ("eps", numbers, "must be float or a list of float"),
            ("norm", self.norm in self.norms, "must be 'linf' or 'l2' or 'l1'"),
        ):
            if not fits:
                raise SpecError(f"spec '{self.spec}': {key} {rule}, not {getattr(self, key)!r}")

    @property
    def _known(self) -> tuple[str, ...]:
        """The parameters of the attack's constructor, the model left out."""
        known = _attacks()
        if self.target not in known:
            raise SpecError(f"torchattacks has no attack {self.target!r}: {nearest(self.target, known)}")
        return tuple(inspect.signature(known[self.target]).parameters)[1:]


def _attacks() -> dict[str, Callable[..., Images]]:
    """The attacks of the package, those that wrap others or train left out.

    Raises:
        SpecError: it is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own age
            # Imported here because it is optional.
            import torchattacks
    except ModuleNotFoundError:
        raise SpecError("torchattacks is not installed: pip install 'robusteval[torchattacks]'") from None
    names = set(torchattacks.__all__) - set(torchattacks.__wrapper__)
    return {name: getattr(torchattacks, name) for name in sorted(names)}


class _Asked(nn.Module):
    """What the foreign attack takes for the model: it counts every pass, and lets no gradient reach the parameters."""

    def __init__(self, oracle: Oracle, device: torch.device) -> None:
        super().__init__()
        self.oracle = oracle
        self.place = nn.Parameter(torch.zeros(0, device=device))  # it looks at a parameter to learn the device
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Logits [n, k] of images [n, c, h, w]."""
        self.oracle.forwards += len(x)
        if torch.is_grad_enabled() and x.requires_grad:
            logits: Tensor = _Pass.apply(x, self.oracle)
            return logits
        with torch.no_grad():
            answer: Tensor = self.oracle.model(x)
        return answer


class _Pass(torch.autograd.Function):
    """A pass whose backward pass is counted, contiguous, and 0 where the model cuts the graph or it is no number."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, oracle: Oracle) -> Tensor:
        with torch.enable_grad():
            inner = x.detach().requires_grad_(True)
            logits: Tensor = oracle.model(inner)
        ctx.inner, ctx.logits, ctx.oracle = inner, logits, oracle
        return logits.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, None]:
        oracle, inner = ctx.oracle, ctx.inner
        oracle.backwards += len(inner)
        if not ctx.logits.requires_grad:
            return torch.zeros_like(inner), None
        (gradient,) = torch.autograd.grad(ctx.logits, inner, above, retain_graph=True, materialize_grads=True)
        oracle.bad += int((~gradient.isfinite()).flatten(1).any(dim=1).sum())
        return gradient.nan_to_num(0, 0, 0).contiguous(), None


@contextmanager
def _seeded(stream: Stream, device: torch.device) -> Iterator[None]:
    """The global generators of torch and numpy set for a while, and put back."""
    before = np.random.get_state()  # noqa: NPY002 - the package draws from it
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(stream.key)
        np.random.seed(stream.key % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(before)  # noqa: NPY002
