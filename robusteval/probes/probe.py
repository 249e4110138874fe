"""The contract of a probe: how a question becomes views of the data, and rows of the record."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robusteval.attacks import Passes
from robusteval.attacks.oracle import Oracle, finite, predict
from robusteval.core.component import Component
from robusteval.core.rng import Stream
from robusteval.core.types import Batch, Predictions
from robusteval.results.schema import prediction_frame
from robusteval.results.store import Facts

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]

EXAMPLES = 8
"""Changed images kept of each cell."""


class Measurement(NamedTuple):
    """What a probe found on a shard: per-sample rows of one view, with `sample` and `label` columns.

    Attributes:
        view: the view's spec, stable over versions.
        frame: rows; numeric columns of the probe's own are metrics, of the rows where they are not missing. Rows of
            other samples than the shard's come after its own, with the label -1 and ids from 2^40 on.
        facts: cost and flags.
        examples: a few images, by name, or nothing.
        images: every changed image [n, c, h, w], where they are to be kept.
        grids: points of a landscape over this shard, by name, with coordinates, means over the samples and `n`.
    """

    view: str
    frame: pd.DataFrame
    facts: Facts = Facts()
    examples: Mapping[str, Tensor] = {}
    images: Tensor | None = None
    grids: Mapping[str, pd.DataFrame] = {}


def facts_of(*oracles: Oracle) -> Facts:
    """What the oracles' passes cost; gradients that were no numbers, which count as 0, raise their flag."""
    bad = sum(each.bad for each in oracles)
    costs = (sum(each.forwards for each in oracles), sum(each.backwards for each in oracles))
    return Facts(*costs, {"nan-gradients": (bad, bad)} if bad else {})


class Facets(NamedTuple):
    """The columns of the record that say what a view is.

    Attributes:
        kind: of view.
        component: what changed the images.
        severity: of a corruption.
        origin: of corrupted images: generated here, or official, which others made and published (TRUST R23).
        eps: radius of an attack, the largest where there are several.
        norm: of an attack.
        grade: of an attack (TRUST R14).
        radii: all of an attack's, rising; the record has a row of accuracy for each.
    """

    kind: str
    component: str
    severity: int | None = None
    eps: float | None = None
    norm: str | None = None
    grade: str | None = None
    radii: tuple[float, ...] = ()
    origin: str | None = None


@dataclass
class Shared:
    """The last value made for a key: the engine goes view by view, so one place is enough."""

    key: object = None
    value: Tensor | None = None

    def get(self, key: object, make: Callable[[], Tensor]) -> Tensor:
        """The value of a key, made where it is not the last one."""
        if self.value is None or key != self.key:
            self.value, self.key = make(), key
        return self.value


@dataclass(frozen=True)
class Subject:
    """A model and a shard of data to measure it on.

    Attributes:
        model: the original in float32, which has the last word.
        form: its evaluation form, for gradients.
        batch: the shard.
        data: digest of the subset and number of the shard, which name the batch.
        passes: sizes of passes.
        keep_logits: whether logits of many classes are stored.
        keep_images: whether attacked images are to be kept.
        stored: reads the shard's images as a stored set has them, by corruption, severity and number of severities.
        shared: keeps a changed batch for the next model.
        variant: spec of the training variant, where the checkpoint's card says it.
    """

    model: nn.Module
    form: nn.Module
    batch: Batch
    data: tuple[str, int]
    passes: Passes
    keep_logits: bool = False
    keep_images: bool = False
    stored: Callable[[str, int, int], Tensor] | None = None
    shared: Shared = field(default_factory=Shared)
    variant: str | None = None

    @property
    def oracle(self) -> Oracle:
        """A fresh counter over the evaluation form."""
        return Oracle(self.form, self.passes.fixed)

    def logits(self, x: Tensor) -> Tensor:
        """Logits of the original model [n, k], finite."""
        return finite(predict(self.model, x, self.passes.batch_size, self.passes.fixed))

    def frame(self, logits: Tensor) -> pd.DataFrame:
        """The sample rows of logits for this batch."""
        arrays = (finite(logits), self.batch.y, self.batch.ids)
        scores, labels, ids = (tensor.cpu().numpy() for tensor in arrays)
        return prediction_frame(Predictions.from_logits(scores.astype(np.float32), labels, ids), self.keep_logits)


@dataclass(frozen=True)
class Probe(Component):
    """A question to a model: `measure` is the author's, the engine calls it shard by shard.

    Attributes:
        joint: whether a sample's row depends on the others of its shard.
    """

    joint: ClassVar[bool] = False

    @property
    def facets(self) -> Facets:
        """What the record's columns say of this view."""
        return Facets(self.name, self.name)

    @property
    def components(self) -> tuple[Component, ...]:
        """What the result depends on, each with a version."""
        return (self,)

    @property
    def split(self) -> str:
        """The part of the data set that is measured: the test split, but for samples to calibrate on."""
        return "test"

    @property
    def depends(self) -> str:
        """A digest of the files that the result depends on beside the model and the data; empty where there is none."""
        return ""

    @property
    def reads_card(self) -> bool:
        """Whether the result depends on the training variant that the checkpoint's card names."""
        return False

    def remark(self, shape: tuple[int, ...]) -> str | None:
        """What a user should be warned of before images of this shape [c, h, w] are measured."""
        return None

    def statistics(self, frame: pd.DataFrame) -> Mapping[str, Statistic]:
        """Numbers of a whole cell that are no means over its rows, each a function of resampling weights [m, n]."""
        return {}

    @abstractmethod
    def measure(self, subject: Subject, rng: Stream) -> Iterator[Measurement]:
        """Measure a shard; yield one measurement, whose view is this probe's spec."""


def examples(clean: Tensor, changed: Tensor, subject: Subject) -> dict[str, Tensor]:
    """The first few changed images beside the clean ones; images of whole 255ths as bytes, others as they are."""
    rows = (clean != changed).flatten(1).any(dim=1).nonzero()[:EXAMPLES, 0]
    images = {"clean": _bytes(clean[rows]), "changed": _bytes(changed[rows])}
    return {**images, "label": subject.batch.y[rows], "sample": subject.batch.ids[rows]}


def _bytes(images: Tensor) -> Tensor:
    whole = (images * 255).round()
    return whole.to(torch.uint8) if torch.equal(whole / 255, images) else images
