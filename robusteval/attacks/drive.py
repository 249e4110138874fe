"""The one loop that runs every attack, by continuous batching, and the last word on what is broken.

A batch of active samples is advanced together, each with its own iteration counter. A sample leaves the moment it is
broken or its budget is spent, and the next in the queue takes its place, so no gradient is spent on a known fate. The
restarts of a sample follow one another, so that its result depends on no other sample.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from robusteval.attacks.attack import Attack, Search, State
from robusteval.attacks.flags import (
    FEWEST_STEPS,
    FLAGS,
    black_box_wins,
    inspected,
    late,
    probabilities,
    rising,
    still_rising,
)
from robusteval.attacks.losses import cross_entropy, in_logits, margin
from robusteval.attacks.oracle import SMALLEST, Oracle, finite, predict
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
        steps_to_break: iterations until broken, 0 where the model was wrong from the start, nan where robust [n].
        linf: largest change of a pixel [n].
        l2: Euclidean size of the change [n].
        forwards: images passed forward; clean and final passes and those that look for flags included.
        backwards: images passed backward.
        flags: reasons not to believe the number (TRUST R15), names of `FLAGS`.
    """

    inputs: Tensor
    logits: Tensor
    broken: Tensor
    steps_to_break: Tensor
    linf: Tensor
    l2: Tensor
    forwards: int
    backwards: int
    flags: tuple[str, ...] = ()


class Passes(NamedTuple):
    """How batches are passed: rows at a time, and the fixed rows of a pass where its shape changes rounding."""

    batch_size: int = 48  # on a CPU fewer stay in cache, and more leave a longer tail of half-empty passes
    fixed: int | None = None


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
    passes = passes or Passes()
    judge, oracle = judge or model, Oracle(model, passes.fixed)
    clean = finite(predict(judge, batch.x, *passes))
    correct = clean.argmax(dim=1) == batch.y
    # The surest first: they take longest, and the last passes are full when short searches come last.
    order = margin(clean, batch.y).argsort(descending=True, stable=True)
    inputs, logits, taken = batch.x.clone(), clean.clone(), torch.zeros(len(clean), device=clean.device)
    judged, climbing, unseen = len(clean), torch.zeros_like(correct), 0
    for number, search in enumerate(attack.searches):
        left = order[correct[order] & (logits.argmax(dim=1) == batch.y)[order]] if search.goal == "break" else order
        draws = rng if number == 0 else rng.stream("search", number)
        found = _searched(search, oracle, batch, draws, left, passes.batch_size)
        taken += found.taken
        climbing = found.rising if search.climbs else climbing
        moved = left[(found.best != batch.x).flatten(1).any(dim=1)[left]].sort().values
        if len(moved) == 0:
            continue
        seen = finite(predict(judge, found.best[moved], *passes))
        judged += len(moved)
        # Of several searches that leave a sample, that counts which came nearest to breaking it.
        nearer = margin(seen, batch.y[moved]) < margin(logits[moved], batch.y[moved])
        kept = torch.ones_like(nearer) if number == 0 else nearer
        inputs[moved[kept]], logits[moved[kept]] = found.best[moved[kept]], seen[kept]
        if not search.white_box and any(before.white_box for before in attack.searches[:number]):
            unseen += int((seen.argmax(dim=1) != batch.y[moved]).sum())
    broken = logits.argmax(dim=1) != batch.y
    witness = Oracle(judge, passes.fixed)
    flags = inspected(attack, witness, oracle, batch, clean, (inputs, logits), rng.stream("flags"))
    signs = {
        "probabilities": probabilities(clean),
        "nan-gradients": oracle.bad > 0,
        "black-box-beats-white-box": black_box_wins(unseen, len(clean)),
        "loss-still-rising": still_rising(climbing[~broken]),
    }
    flags |= {name for name, raised in signs.items() if raised}
    delta = (inputs - batch.x).to(torch.float64).flatten(1)
    return AttackOutcome(
        inputs=inputs,
        logits=logits,
        broken=broken,
        steps_to_break=torch.where(broken, torch.where(correct, taken, 0.0), torch.nan),
        linf=delta.abs().amax(dim=1),
        l2=delta.norm(dim=1),
        forwards=oracle.forwards + witness.forwards + judged,
        backwards=oracle.backwards,
        flags=tuple(name for name in FLAGS if name in flags),
    )


def strongest(attack: Search, model: nn.Module, batch: Batch, rng: Stream, passes: Passes | None = None) -> Tensor:
    """The search without the judging: the strongest point found for every sample, [n, c, h, w].

    Args:
        attack: what to run; adversarial training wants one whose goal is `loss`.
        model: what is differentiated, in eval mode.
        batch: clean images, labels and ids.
        rng: as for `drive`, which finds the same points.
        passes: sizes of batches.
    """
    passes = passes or Passes()
    everyone = torch.arange(len(batch.ids))
    return _searched(attack, Oracle(model, passes.fixed), batch, rng, everyone, passes.batch_size).best


def check_ball(attack: Attack, inputs: Tensor, x: Tensor) -> None:
    """Assert that what will be scored is finite, in [0, 1] and in the ball (TRUST R3): else the attack has a bug."""
    size = attack.ball.size(inputs.to(torch.float64) - x.to(torch.float64))
    if not bool(torch.isfinite(inputs).all()) or bool((inputs < 0).any()) or bool((inputs > 1).any()):
        raise AssertionError(f"{attack}: an image left [0, 1] or is not finite")
    if bool((size > attack.ball.slack(attack.eps)).any()):
        raise AssertionError(f"{attack}: a change of size {float(size.max())} left the ball of radius {attack.eps!r}")


def _searched(attack: Search, oracle: Oracle, batch: Batch, rng: Stream, chosen: Tensor, batch_size: int) -> "_Search":
    """A search that has run over the chosen rows, and whose points lie where they may."""
    search = _Search(attack, oracle, batch, rng.stream("attack", attack.name), batch_size)
    search.run(chosen)
    check_ball(attack, search.best, batch.x)
    return search


class _Search:
    """One run of the loop: the queue, the active rows, the rows whose last point waits to be seen, and the results."""

    def __init__(self, attack: Search, oracle: Oracle, batch: Batch, rng: Stream, batch_size: int) -> None:
        self.attack, self.oracle, self.batch, self.rng = attack, oracle, batch, rng
        self.batch_size = max(batch_size, SMALLEST)
        self.best = batch.x.clone()
        self.loss = torch.full(batch.ids.shape, -torch.inf, dtype=torch.float64, device=batch.x.device)
        self.taken = torch.zeros(batch.ids.shape, device=batch.x.device)
        self.rising = torch.zeros(batch.ids.shape, dtype=torch.bool, device=batch.x.device)
        self.levels = self.loss[:, None].repeat(1, 3)  # the highest at the first step, before the last ones, in them
        self.phase = torch.ones(attack.budget + 1, dtype=torch.int64, device=batch.x.device)
        self.phase[1], self.phase[late(attack.budget) + 1 :] = 0, 2
        self.watched = attack.climbs and attack.budget >= FEWEST_STEPS
        self.queue: deque[tuple[int, int]] = deque()
        self.active: _Rows | None = None
        self.waiting: _Rows | None = None

    def run(self, chosen: Tensor) -> None:
        """Attack the chosen rows of the batch."""
        self.queue.extend((row, 0) for row in chosen.tolist())
        while self.queue or self.active or self.waiting:
            self._refill()
            if self.active:
                state = self.attack.advance(self.oracle, self.active.state, self.rng)
                if self.watched:
                    self.levels[self.active.index, self.phase[state.iteration]] = state.loss
                self._sort(_Rows(self.active.index, state))
            if self.waiting and (not self.active or len(self.waiting.index) >= SMALLEST):
                for rows in self.waiting.parts(self.batch_size):
                    self._leave(_Rows(rows.index, self.attack.close(self.oracle, rows.state)))
                self.waiting = None

    def _refill(self) -> None:
        free = self.batch_size - (len(self.active.index) if self.active else 0)
        while free > 0 and self.queue:
            entry = self.queue[0][1]
            rows: list[int] = []
            while self.queue and self.queue[0][1] == entry and len(rows) < free:
                rows.append(self.queue.popleft()[0])
            index = torch.tensor(rows, device=self.batch.x.device)
            x, y, ids = (tensor[index] for tensor in self.batch)
            state = self.attack.start(self.oracle, x, y, ids, self.rng.stream("start"), entry)
            self.active = _joined(self.active, _Rows(index, state))
            free -= len(rows)

    def _sort(self, rows: "_Rows") -> None:
        """Keep the rows that go on; broken ones leave, spent ones wait until their last point is seen."""
        done = rows.state.done if self.attack.goal == "break" else torch.zeros_like(rows.state.done)
        spent = ~done & (rows.state.iteration >= self.attack.budget)
        self.active = rows.chosen(~done & ~spent)
        self.waiting = _joined(self.waiting, rows.chosen(spent))
        left = rows.chosen(done)
        if left:
            self._leave(left)

    def _leave(self, rows: "_Rows") -> None:
        """Record the rows' best points, and queue the next entry of those not broken."""
        index, state = rows.index, rows.state
        better = state.loss > self.loss[index]
        if self.attack.goal == "break":
            better |= state.done
        self.best[index[better]] = state.best[better]
        self.loss[index[better]] = state.loss[better]
        if self.watched:
            seen = torch.column_stack([self.levels[index], state.loss])
            first, before, _, last = (in_logits(seen) if self.attack.objective is cross_entropy else seen).unbind(dim=1)
            self.rising[index[better]] = rising(first, before, last)[better]
        self.taken[index] += torch.where(state.done, state.reached, state.iteration)
        again = (~state.done & (state.entry + 1 < self.attack.entries)).nonzero()[:, 0]
        self.queue.extend(zip(index[again].tolist(), (state.entry[again] + 1).tolist(), strict=True))


@dataclass(frozen=True)
class _Rows:
    """Rows of the batch, by position, and their states."""

    index: Tensor
    state: State

    def parts(self, size: int) -> "Iterator[_Rows]":
        """The rows in order, at most `size` at a time."""
        for rows in torch.split(torch.arange(len(self.index), device=self.index.device), size):
            yield self if len(rows) == len(self.index) else _Rows(self.index[rows], self.state.rows(rows))

    def chosen(self, mask: Tensor) -> "_Rows | None":
        if bool(mask.all()):
            return self
        return _Rows(self.index[mask], self.state.rows(mask)) if bool(mask.any()) else None


def _joined(first: _Rows | None, second: _Rows | None) -> _Rows | None:
    if first is None or second is None:
        return first or second
    return _Rows(torch.cat([first.index, second.index]), first.state.joined(second.state))
