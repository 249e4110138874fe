"""One search over many samples: the queue, the active rows, and at which radius each sample is tried next.

A sample that breaks at one radius is broken at every larger one, and one that holds is taken to hold at every smaller
one. Of several radii each sample therefore meets few: it begins at the last that its margin over the margin's slope
calls safe, and goes down while it breaks, or up while it holds; often the strongest point of one radius breaks at the
next once it is stretched to it, which costs one pass.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from robusteval.attacks.attack import Search, State, certain
from robusteval.attacks.flags import FEWEST_STEPS, late, rising
from robusteval.attacks.losses import cross_entropy, in_logits, margin_loss
from robusteval.attacks.norms import NORMS, column
from robusteval.attacks.oracle import SMALLEST, Oracle
from robusteval.core.rng import Stream
from robusteval.core.types import Batch


class Loop:
    """One run of a search.

    Attributes:
        best: the strongest point found for each sample [n, c, h, w], the clean image where there is none.
        high: the smallest radius, by its place among the attack's, at which the sample broke; their number where none.
        broken: whether the search takes `best` for misclassified [n].
        taken: iterations of each sample [n].
        rising: whether the loss still rose at the last steps [n].
    """

    def __init__(
        self, attack: Search, oracle: Oracle, batch: Batch, rng: Stream, batch_size: int, classes: int
    ) -> None:
        self.attack, self.oracle, self.batch = attack, oracle, batch
        self.rng = rng.stream("attack", attack.name)
        self.batch_size = max(batch_size, SMALLEST)
        self.entries = attack.entries(classes)
        count, device = batch.ids.shape, batch.x.device
        # Those that look for a distance, or for the loss itself, need one radius alone.
        radii = attack.radii if attack.goal == "break" else (attack.radius,)
        self.radii = torch.tensor(radii, dtype=torch.float64, device=device)
        self.low, self.high = (torch.full(count, place, device=device) for place in (-1, len(radii)))
        self.level = self.high - 1
        self.best = batch.x.clone()
        self.loss = torch.full(count, -torch.inf, dtype=torch.float64, device=device)
        self.broken = torch.zeros(count, dtype=torch.bool, device=device)
        self.taken = torch.zeros(count, device=device)
        self.rising = torch.zeros_like(self.broken)
        self.levels = self.loss[:, None].repeat(1, 3)  # the highest at the first step, before the last ones, in them
        self.phase = torch.ones(attack.budget + 1, dtype=torch.int64, device=device)
        self.phase[1], self.phase[late(attack.budget) + 1 :] = 0, 2
        self.watched = attack.climbs and attack.budget >= FEWEST_STEPS
        self.queue: deque[tuple[int, int]] = deque()
        self.active: _Rows | None = None
        self.waiting: _Rows | None = None

    def run(self, chosen: Tensor, high: Tensor | None = None) -> "Loop":
        """Attack the chosen rows of the batch.

        Args:
            chosen: their positions [m], in the order in which they are to begin.
            high: for each sample the place of the radius at which it is broken already [n]; where not given they begin
                at the radius that their gradient suggests.
        """
        if high is not None:
            self.high, self.level = high.clone(), high - 1
        elif len(self.radii) > 1:
            for part in torch.split(chosen, self.batch_size):
                self.level[part] = self._suggested(part)
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
        return self

    def _suggested(self, rows: Tensor) -> Tensor:
        """The last radius that does not reach the boundary if the margin is linear."""
        answer = self.oracle.gradient(self.batch.x[rows], self.batch.y[rows], margin_loss)
        slope = NORMS[self.attack.ball.dual].size(answer.gradient.to(torch.float64))
        reach = -answer.loss / slope.clamp_min(torch.finfo(torch.float64).tiny)
        return (torch.searchsorted(self.radii, reach) - 1).clamp_min(0)

    def _refill(self) -> None:
        free = self.batch_size - (len(self.active.index) if self.active else 0)
        while free > 0 and self.queue:
            entry = self.queue[0][1]
            rows: list[int] = []
            while self.queue and self.queue[0][1] == entry and len(rows) < free:
                rows.append(self.queue.popleft()[0])
            index = torch.tensor(rows, device=self.batch.x.device)
            fresh = self.attack.fresh(Batch(*(tensor[index] for tensor in self.batch)), entry)
            fresh = fresh._replace(eps=self.radii[self.level[index]])
            state = self.attack.start(self.oracle, fresh, self.rng.stream("start"))
            self.active = _joined(self.active, _Rows(index, state))
            free -= len(rows)

    def _sort(self, rows: "_Rows") -> None:
        """Keep the rows that go on; broken ones leave, spent ones wait until their last point is seen."""
        done = rows.state.done if self.attack.goal != "loss" else torch.zeros_like(rows.state.done)
        spent = ~done & (rows.state.iteration >= self.attack.budget)
        self.active = rows.chosen(~done & ~spent)
        self.waiting = _joined(self.waiting, rows.chosen(spent))
        left = rows.chosen(done)
        if left:
            self._leave(left)

    def _leave(self, rows: "_Rows") -> None:
        """Record the rows' best points, and queue what comes next for them."""
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
        again = ~state.done & (state.entry + 1 < self.entries)
        self._queue(index[again], state.entry[again] + 1)
        self._moved(rows, ~again)

    def _moved(self, rows: "_Rows", over: Tensor) -> None:
        """Narrow the radii of rows that are through with one, and queue the next that is left."""
        if self.attack.goal != "break":
            self.broken[rows.index] |= rows.state.done | (rows.state.loss > -torch.inf)
            return
        index, state = rows.index[over], rows.state.rows(over)
        broken = state.done | (state.loss == torch.inf)
        self.broken[index] |= broken
        reached = torch.searchsorted(self.attack.ball.slack(self.radii), self.attack.size(state.best, state.x0))
        self.high[index] = torch.where(broken, torch.minimum(reached, self.level[index]), self.high[index])
        self.low[index] = torch.where(broken, self.low[index], self.level[index])
        self._stretch(index[~broken])
        self.level[index] = torch.where(broken, self.high[index] - 1, self.level[index] + 1)
        left = self.low[index] + 1 < self.high[index]
        self._queue(index[left], torch.zeros_like(index[left]))

    def _stretch(self, index: Tensor) -> None:
        """See whether what holds at one radius breaks where its change is as much longer as the next radius is."""
        index = index[self.low[index] + 1 < self.high[index]]
        if len(index) == 0:
            return
        x0, level = self.batch.x[index], self.low[index]
        longer = torch.where(self.radii[level] > 0, self.radii[level + 1] / self.radii[level], 1)
        change = column(longer.to(x0.dtype)) * (self.best[index] - x0)
        further = self.attack.inside(x0 + change, x0, self.radii[level + 1])
        broken = certain(self.oracle.logits(further), self.batch.y[index])
        found = index[broken]
        self.best[found], self.loss[found], self.high[found] = further[broken], torch.inf, self.low[found] + 1
        self.broken[found] = True

    def _queue(self, index: Tensor, entry: Tensor) -> None:
        self.queue.extend(zip(index.tolist(), entry.tolist(), strict=True))


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
