"""Transfer: points that MI-FGSM finds on another model, tried on this one (Dong et al. 2018, arXiv:1710.06081).

Without momentum the steps are those of PGD (Madry et al. 2018, arXiv:1706.06083). The other model is a checkpoint whose
classes are those of the attacked model, in the same order: an own one, or a foreign one beside which stands its
description, `CHECKPOINT.toml`. Passes through it are not the attacked model's and are not counted.
"""

import hashlib
import math
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, cast

import torch
from torch import Tensor

from robusteval.attacks.attack import Fresh, State
from robusteval.attacks.losses import cross_entropy
from robusteval.attacks.norms import NORMS, column
from robusteval.attacks.oracle import Oracle, steady
from robusteval.attacks.steps import Stepping
from robusteval.core.errors import CheckpointError, InputError, require
from robusteval.core.rng import Stream
from robusteval.models import checkpoint, foreign
from robusteval.models.foreign import Description
from robusteval.models.fuse import evaluation_form
from robusteval.models.loading import describe, load

Shape = tuple[int, int, int]

_ROWS = {"cpu": 64, "cuda": 256}
"""Rows of a pass through the source at most, and of every pass where its rounding depends on the shape."""


@dataclass
class _Carried(State):
    """Rows with their momentum on the source.

    Attributes:
        momentum: decayed sum of the source's gradients so far, each of unit L1 norm [n, c, h, w].
    """

    momentum: Tensor


@dataclass(frozen=True)
class Transfer(Stepping):
    """Momentum iterative steps up the cross-entropy of another model; each point is tried on the attacked one.

    Attributes:
        path: length of all steps together over the radius.
        source: path of the other model's checkpoint.
        steps: iterations of one start.
        restarts: starts per sample: at the image, then at random points of the ball.
        decay: share of the momentum that a step keeps; 0 for PGD.
    """

    name: ClassVar[str] = "transfer"
    path: ClassVar[float] = 2.5
    white_box: ClassVar[bool] = False
    climbs: ClassVar[bool] = False

    source: str = field(kw_only=True)
    steps: int = 20
    restarts: int = 1
    decay: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.restarts >= 1, "restarts", "must be at least 1", self.restarts)
        require(0 <= self.decay < math.inf, "decay", "must be at least 0 and finite", self.decay)
        _described(self.source)

    @property
    def depends(self) -> str:
        """The sha256 of the source's file, and of its description."""
        return hashlib.sha256(b"".join(_sha256(file) for file in _files(self.source))).hexdigest()

    def entries(self, classes: int) -> int:
        """The restarts."""
        return self.restarts

    def start(self, model: Oracle, fresh: Fresh, rng: Stream) -> State:
        """Start at the image, or at a random point of the ball, at rest."""
        x, _, ids, eps, entry = fresh
        if entry > 0:
            offset = column(eps.to(x.dtype)) * self.ball.draw(rng, ids, x.shape[1:], ids.new_full(ids.shape, entry))
            x = self.inside(x + offset, x, eps)
        return _Carried(**vars(State.at(x, fresh)), momentum=torch.zeros_like(x))

    def advance(self, model: Oracle, state: State, rng: Stream) -> State:
        """Try the present points, then one step up the source's loss, back into the ball."""
        logits = model.logits(state.x)
        state = cast(_Carried, self._tried(state, logits))
        gradient = self._source(state.x, logits.shape[1]).gradient(state.x, state.y).gradient
        size = NORMS["l1"].size(gradient).clamp_min(torch.finfo(gradient.dtype).tiny)
        momentum = self.decay * state.momentum + gradient / column(size)
        moved = self.inside(state.x + self.lengths(state) * self.ball.steepest(momentum), state.x0, state.eps)
        return replace(state.moved(moved), momentum=momentum)

    def close(self, model: Oracle, state: State) -> State:
        """Try the points after the last step."""
        return self._tried(state, model.logits(state.x))

    def _tried(self, state: State, logits: Tensor) -> State:
        return self.observed(state, logits, cross_entropy(logits, state.y))

    def _source(self, x: Tensor, classes: int) -> Oracle:
        """The other model for such images and so many classes.

        Raises:
            RobustevalError: it takes others.
        """
        changed = tuple(file.stat().st_mtime_ns for file in _files(self.source))
        return _loaded(self.source, changed, (x.shape[1], x.shape[2], x.shape[3]), classes, str(x.device))


def _described(source: str) -> Description:
    """What is known of the checkpoint; which data it was trained on does not matter.

    Raises:
        InputError: it cannot be read, or nobody says its architecture.
    """
    path = Path(source)
    require(path.is_file(), "source", "there is no such file", source)
    try:
        own, beside = checkpoint.read_card(path), foreign.read_sidecar(path)
        if own is None and beside.arch is None and foreign.kind(path) in ("safetensors", "pickle"):
            remedy = f"write arch = '...' to {foreign.sidecar(path).name}"
            raise InputError(f"source={source!r}: not a robusteval checkpoint: {remedy} beside it")
        return describe(path, Description(data="any"))
    except CheckpointError as error:
        raise InputError(f"source={source!r}: {error}") from None


@lru_cache(maxsize=4)
def _loaded(source: str, changed: tuple[int, ...], shape: Shape, classes: int, device: str) -> Oracle:
    """The checkpoint as it was when its files were last changed, in its evaluation form on a device."""
    path = Path(source)
    card = checkpoint.read_card(path)
    names = card.classes if card and len(card.classes) == classes else tuple(map(str, range(classes)))
    try:
        model = load(path, _described(source), shape, names).model.to(device)
    except CheckpointError as error:
        raise InputError(f"source={source!r}: {error}") from None
    # Any images, but the same in every process: what is seen here decides how images are passed.
    example = Stream.seeded(0).uniform(torch.arange(32, device=device), shape)
    form = evaluation_form(model, example).model
    rows = _ROWS[example.device.type]
    return Oracle(form, None if steady(form, example, rows) else rows, most=rows)


def _files(source: str) -> list[Path]:
    """The checkpoint, and its description where there is one."""
    path = Path(source)
    return [file for file in (path, foreign.sidecar(path)) if file.is_file()]


def _sha256(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
