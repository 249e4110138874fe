"""The one loop that runs every attack, by continuous batching, and the last word on what is broken.

A batch of active samples is advanced together, each with its own iteration counter. A sample leaves the moment it is
broken or its budget is spent, and the next in the queue takes its place, so no gradient is spent on a known fate. The
restarts of a sample follow one another, so that its result depends on no other sample.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from robusteval.attacks.attack import Attack, Search
from robusteval.attacks.flags import Tally, inspected, probabilities, raised
from robusteval.attacks.loop import Loop
from robusteval.attacks.losses import margin
from robusteval.attacks.oracle import SMALLEST, Oracle, finite, predict
from robusteval.core.precision import Precision
from robusteval.core.rng import Stream
from robusteval.core.types import Batch


@dataclass(frozen=True)
class AttackOutcome:
    """What an attack did to n samples, judged by the original model.

    Attributes:
        inputs: final images [n, c, h, w]: broken ones, the strongest point found, or the clean image where the model
            was wrong from the start.
        logits: of the original model at `inputs` [n, k].
        broken: whether the original model misclassifies `inputs` [n].
        distance: the smallest radius at which a sample is known to break, [n] float64 in the attack's norm: 0 where the
            model was wrong from the start, infinite where nothing was found. It is one of the attack's radii, or any
            number where the attack looks for the nearest point.
        steps_to_break: iterations until broken, 0 where the model was wrong from the start, nan where robust [n].
        linf: largest change of a pixel [n].
        l2: Euclidean size of the change [n].
        forwards: images passed forward; clean and final passes and those that look for flags included.
        backwards: images passed backward.
        signs: how many samples show each sign of failure, names of `FLAGS`.
        notes: what else a reader of the number should know.
    """

    inputs: Tensor
    logits: Tensor
    broken: Tensor
    distance: Tensor
    steps_to_break: Tensor
    linf: Tensor
    l2: Tensor
    forwards: int
    backwards: int
    signs: Mapping[str, Tally] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def flags(self) -> tuple[str, ...]:
        """Reasons not to believe the number (TRUST R15), names of `FLAGS`."""
        return raised(self.signs)


class Passes(NamedTuple):
    """How batches are passed.

    Attributes:
        batch_size: rows at a time; fewer pass where the device has not the memory.
        fixed: rows of every pass, for a model whose rounding depends on the shape.
        precision: of what is differentiated; the judge is always asked in float32.
    """

    batch_size: int = SMALLEST  # all passes have one shape then; on a CPU more rows bring little
    fixed: int | None = None
    precision: Precision = "float32"


def drive(
    attack: Attack,
    model: nn.Module,
    batch: Batch,
    rng: Stream,
    judge: nn.Module | None = None,
    passes: Passes | None = None,
) -> AttackOutcome:
    """Attack a batch and judge the result.

    Args:
        attack: what to run.
        model: what is differentiated, the evaluation form.
        batch: clean images, labels and ids.
        rng: the run's stream.
        judge: the original model in float32, which decides; by default `model`.
        passes: sizes of batches.
    """
    # A model that answers at random draws from torch's own generator, which is set for it and put back.
    with torch.random.fork_rng([batch.x.device] if batch.x.is_cuda else []):
        torch.manual_seed(rng.key)
        return _Drive(attack, model, judge or model, batch, rng, passes or Passes()).outcome()


def strongest(
    attack: Search, model: nn.Module, batch: Batch, classes: int, rng: Stream, passes: Passes | None = None
) -> Tensor:
    """The search without the judging: the strongest point found for every sample, [n, c, h, w].

    Args:
        attack: what to run; adversarial training wants one whose goal is `loss`.
        model: what is differentiated, in eval mode.
        batch: clean images, labels and ids.
        classes: that the model tells apart.
        rng: as for `drive`, which finds the same points.
        passes: sizes of batches.
    """
    passes = passes or Passes()
    loop = Loop(attack, Oracle(model, passes.fixed), batch, rng, passes.batch_size, classes)
    loop.run(torch.arange(len(batch.ids)))
    check_ball(attack, loop.best, batch.x)
    return loop.best


def check_ball(attack: Attack, inputs: Tensor, x: Tensor, eps: Tensor | None = None) -> None:
    """Assert that what will be scored is finite, in [0, 1] and in the ball (TRUST R3): else the attack has a bug.

    Args:
        attack: whose norm it is.
        inputs: final images [n, c, h, w].
        x: clean images.
        eps: radius of each one's ball [n]; the attack's largest by default.
    """
    size = attack.ball.size(inputs.to(torch.float64) - x.to(torch.float64))
    limit = torch.full_like(size, attack.radius) if eps is None else eps
    if not bool(torch.isfinite(inputs).all()) or bool((inputs < 0).any()) or bool((inputs > 1).any()):
        raise AssertionError(f"{attack}: an image left [0, 1] or is not finite")
    if bool((size > attack.ball.slack(limit)).any()):
        raise AssertionError(
            f"{attack}: a change of size {float(size.max())} left the ball of radius {attack.radius!r}"
        )


class _Drive:
    """One attack on one batch: the verdicts so far, and what they cost."""

    def __init__(
        self, attack: Attack, model: nn.Module, judge: nn.Module, batch: Batch, rng: Stream, passes: Passes
    ) -> None:
        self.attack, self.model, self.judge, self.batch, self.rng, self.passes = (
            attack,
            model,
            judge,
            batch,
            rng,
            passes,
        )
        self.eot = max(search.eot for search in attack.searches)
        self.judged, self.signs = 0, dict[str, Tally]()
        self.clean = self._judgement(batch.x)
        self.correct = self.clean.argmax(dim=1) == batch.y
        self.inputs, self.logits = batch.x.clone(), self.clean.clone()
        # The place among the radii of the smallest at which each sample breaks, and its distance.
        self.high = torch.full_like(batch.ids, len(attack.radii))
        self.distance = torch.where(self.correct, torch.inf, torch.zeros_like(self.clean[:, 0], dtype=torch.float64))
        self.taken = torch.zeros(len(batch.ids), device=batch.x.device)
        self.climbing = torch.zeros_like(self.correct)
        self.forwards = self.backwards = self.bad = self.unseen = 0

    def outcome(self) -> AttackOutcome:
        """Run every search and look for signs of failure."""
        white = False
        for number, search in enumerate(self.attack.searches):
            self._run(search, number, white and not search.white_box)
            white |= search.white_box
        broken, n = self.logits.argmax(dim=1) != self.batch.y, len(self.clean)
        self._inspect(broken)
        delta = (self.inputs - self.batch.x).to(torch.float64).flatten(1)
        notes = (note for search in self.attack.searches for note in search.notes(self.clean.shape[1]))
        return AttackOutcome(
            inputs=self.inputs,
            logits=self.logits,
            broken=broken,
            distance=self.distance,
            steps_to_break=torch.where(broken, torch.where(self.correct, self.taken, 0.0), torch.nan),
            linf=delta.abs().amax(dim=1),
            l2=delta.norm(dim=1),
            forwards=self.forwards + self.judged,
            backwards=self.backwards,
            signs={name: self.signs[name] for name in sorted(self.signs)} if n else {},
            notes=tuple(dict.fromkeys(notes)),
        )

    def _run(self, search: Search, number: int, late: bool) -> None:
        """Run a search on what those before it left, and have it judged."""
        # The surest first: they take longest, and the last passes are full when short searches come last.
        order = margin(self.clean, self.batch.y).argsort(descending=True, stable=True)
        rows = order if search.goal == "loss" else order[(self.correct & (self.high > 0))[order]]
        oracle = Oracle(self.model, self.passes.fixed, search.eot, self.passes.precision)
        draws = self.rng if number == 0 else self.rng.stream("search", number)
        high = None if number == 0 else self.high
        before = self.high.clone()
        loop = Loop(search, oracle, self.batch, draws, self.passes.batch_size, self.clean.shape[1]).run(rows, high)
        wrong = self._settle(search, loop, rows)
        lost = rows[loop.broken[rows] & ~wrong[rows]]
        self._count(oracle)
        if len(lost) and search.goal != "loss":
            # What was differentiated rounds otherwise than the original: there the original itself is attacked.
            oracle = Oracle(self.judge, self.passes.fixed, search.eot)
            again = Loop(search, oracle, self.batch, draws, self.passes.batch_size, self.clean.shape[1])
            self._settle(search, again.run(lost, high), lost)
            self._count(oracle)
        if late:
            self.unseen += int((self.high < before).sum())

    def _settle(self, search: Search, loop: Loop, rows: Tensor) -> Tensor:
        """Judge the points of a search and keep those that are nearer to breaking; which are misclassified [n]."""
        attack, (x, y, _) = self.attack, self.batch
        self.taken += loop.taken
        self.climbing = torch.where(loop.taken > 0, loop.rising, self.climbing) if search.climbs else self.climbing
        moved = rows[(loop.best != x).flatten(1).any(dim=1)[rows]].sort().values
        wrong = torch.zeros_like(self.correct)
        if len(moved) == 0:
            return wrong
        found = loop.best[moved]
        seen = self._judgement(found)
        wrong[moved] = seen.argmax(dim=1) != y[moved]
        radii = torch.tensor(attack.radii, dtype=torch.float64, device=x.device)
        size = attack.ball.size(found.to(torch.float64) - x[moved].to(torch.float64))
        if search.goal == "distance":
            high, distance = torch.searchsorted(attack.ball.slack(radii), size), size
        else:
            limits = torch.cat([radii, radii[-1:]])
            check_ball(attack, found, x[moved], limits[loop.high[moved]] if search.goal == "break" else None)
            high = loop.high[moved].clamp_max(len(radii) - 1) if search.goal == "break" else torch.zeros_like(moved)
            distance = radii[high.clamp_max(len(radii) - 1)]
        high = torch.where(wrong[moved], high, len(radii))
        # Of several searches that leave a sample, that counts which came nearest to breaking it.
        inside = size <= attack.ball.slack(radii[-1])
        nearer = margin(seen, y[moved]) < margin(self.logits[moved], y[moved])
        fresh = (self.inputs[moved] == x[moved]).flatten(1).all(dim=1)
        kept = inside & ((high < self.high[moved]) | ((high == self.high[moved]) & (fresh | nearer)))
        self.inputs[moved[kept]], self.logits[moved[kept]] = found[kept], seen[kept]
        self.distance[moved] = torch.where(
            wrong[moved] & (distance < self.distance[moved]), distance, self.distance[moved]
        )
        self.high[moved] = torch.minimum(high, self.high[moved])
        return wrong

    def _inspect(self, broken: Tensor) -> None:
        """Look for signs of failure; where nothing is left robust no number can be too high."""
        signs = {
            "probabilities": Tally.over(probabilities(self.clean)),
            "nan-gradients": Tally(self.bad, max(self.bad, 1)),
            "black-box-beats-white-box": Tally(self.unseen, len(self.clean)),
            "loss-still-rising": Tally.over(self.climbing[~broken]),
        }
        if not bool(broken.all()):
            witness, oracle = (Oracle(model, self.passes.fixed, self.eot) for model in (self.judge, self.model))
            outcome = (self.inputs, self.logits)
            draws = self.rng.stream("flags")
            signs |= inspected(self.attack, witness, oracle, self.batch, self.clean, outcome, draws)
            self._count(witness)
            self._count(oracle)
        if self.eot > 1:
            signs.pop("randomised", None)  # the mean over several passes is the remedy (TRUST R17)
        self.signs = signs

    def _judgement(self, x: Tensor) -> Tensor:
        """The logits of the original model in float32, which decide."""
        self.judged += self.eot * len(x)
        return finite(predict(self.judge, x, self.passes.batch_size, self.passes.fixed, self.eot))

    def _count(self, oracle: Oracle) -> None:
        self.forwards += oracle.forwards
        self.backwards += oracle.backwards
        self.bad += oracle.bad
