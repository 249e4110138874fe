"""Samples of another split, on which recalibrators are fitted (Guo et al. 2017, arXiv:1706.04599, section 4)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from robusteval.core.errors import require
from robusteval.core.rng import Stream
from robusteval.probes.probe import Measurement, Probe, Subject
from robusteval.results.store import Facts

Source = Literal["train", "validation", "memory"]
SOURCES: tuple[str, ...] = get_args(Source)


@dataclass(frozen=True)
class Calibration(Probe):
    """Predictions on unchanged images of another split: what fits these recalibrates the model's other views.

    Attributes:
        split: `train`, on a part of which the network may have been trained; `validation`, the share of it that the
            checkpoint's training held out; `memory`, samples that the caller of `robusteval.evaluate` brings.
    """

    name: ClassVar[str] = "calibration"

    split: Source = "train"

    def __post_init__(self) -> None:
        require(self.split in SOURCES, "split", f"must be one of {', '.join(SOURCES)}", self.split)

    def measure(self, subject: Subject, rng: Stream) -> Iterator[Measurement]:
        """One forward pass."""
        frame = subject.frame(subject.logits(subject.batch.x))
        seen = ("the network may have been trained on some of these samples",) if self.split == "train" else ()
        yield Measurement(self.spec, frame, Facts(forwards=len(frame), notes=seen))
