"""The loss along random filter-normalised directions in weight space (Li et al. 2018, arXiv:1712.09913)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from robusteval.core.errors import require
from robusteval.core.rng import Stream
from robusteval.core.spec import Quotient
from robusteval.models.hessian import Vector
from robusteval.probes.probe import Measurement, Probe, Subject
from robusteval.probes.slices import input_grid, moved, random_direction, scores, weight_grid
from robusteval.results.store import Facts


@dataclass(frozen=True)
class Landscape(Probe):
    """`rise_R`: how much a sample's loss rises, in nats, at distance R from the model in weight space.

    It is the mean over random directions, each taken both ways. A direction is as long as the weights, filter by
    filter, so that R is relative to them; biases and norms stay. Directions depend on the seed and on the shapes of the
    parameters alone, and so are the same for every checkpoint of an architecture. `grids` are the slices to be drawn.

    Attributes:
        radii: R, relative to the length of the weights.
        directions: how many.
        points: of each axis of a plane; a line has three more between any two.
        reach: of the grids in weight space, to both sides; 1 as in the paper.
        eps: reach of the grid in image space, in pixel units.
    """

    name: ClassVar[str] = "landscape"

    radii: tuple[float, ...] = (0.1, 0.25, 0.5)
    directions: int = 2
    points: int = 15
    reach: float = 1.0
    eps: float = Quotient("8", "255")

    def __post_init__(self) -> None:
        positive = len(self.radii) > 0 and all(0 < radius < float("inf") for radius in self.radii)
        require(positive, "radii", "must be numbers above 0, as in radii=[0.1, 0.5]", self.radii)
        require(len({*self.radii}) == len(self.radii), "radii", "must differ", self.radii)
        require(self.directions >= 1, "directions", "must be at least 1", self.directions)
        require(self.points >= 3 and self.points % 2 == 1, "points", "must be odd and at least 3", self.points)
        require(0 < self.reach < float("inf"), "reach", "must be above 0", self.reach)
        require(0 < self.eps <= 1, "eps", "must be above 0 and at most 1, as in eps=8/255", self.eps)

    def measure(self, subject: Subject, rng: Stream) -> Iterator[Measurement]:
        """Score the shard at every moved model."""
        home = self._losses(subject)
        movable = any(weights.dim() > 1 for weights in subject.model.parameters())
        rule = "must have weights of two or more dimensions, to have a landscape in them"
        require(movable, "model", rule, type(subject.model).__name__)
        directions = [self._direction(subject, rng, number) for number in range(self.directions)]
        columns = {f"rise_{radius:g}": self._rise(subject, home, directions, radius).cpu() for radius in self.radii}
        frame = pd.DataFrame({"sample": subject.batch.ids.cpu(), "label": subject.batch.y.cpu(), **columns})
        grids = self.grids(subject, rng)
        passes = 2 + 2 * self.directions * len(self.radii) + sum(map(len, grids.values()))
        yield Measurement(self.spec, frame, Facts(len(frame) * passes, len(frame)), grids=grids)

    def grids(self, subject: Subject, rng: Stream) -> dict[str, pd.DataFrame]:
        """Mean loss and accuracy over the shard on a line and a plane of weight space, and on a plane of image space.

        Coordinates are those of `slices.weight_grid` and `slices.input_grid`; `slices.pooled` joins shards.
        """
        first, second = (self._direction(subject, rng, number) for number in range(2))
        rows, fixed = subject.passes[:2]
        fine, coarse = (np.linspace(-1, 1, points) for points in (4 * self.points - 3, self.points))
        line, along = (self.reach * fine).tolist(), (self.reach * coarse).tolist()
        return {
            "weights-1d": weight_grid(subject.model, subject.batch, [first], line, rows, fixed),
            "weights-2d": weight_grid(subject.model, subject.batch, [first, second], along, rows, fixed),
            "inputs-2d": input_grid(subject, rng.stream("landscape"), coarse.tolist(), self.eps),
        }

    def _direction(self, subject: Subject, rng: Stream, number: int) -> Vector:
        return random_direction(subject.model, rng.stream("landscape", "direction", number))

    def _rise(self, subject: Subject, home: Tensor, directions: list[Vector], radius: float) -> Tensor:
        steps = [(sign * radius, direction) for direction in directions for sign in (1, -1)]
        return torch.stack([self._losses(subject, step) for step in steps]).mean(dim=0) - home

    def _losses(self, subject: Subject, *steps: tuple[float, Vector]) -> Tensor:
        model = moved(subject.model, *steps) if steps else subject.model
        return scores(model, subject.batch, subject.passes.batch_size, subject.passes.fixed).loss
