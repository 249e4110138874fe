"""The contract of an executor: it runs tasks, in any order, and reports each as it ends."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from robusteval.core.component import Component
from robusteval.engine.plan import Settings, Task
from robusteval.engine.worker import Outcome
from robusteval.results.store import Store

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Executor(Component):
    """A way to run shards; results do not depend on it."""

    @abstractmethod
    def run(self, tasks: Sequence[Task], settings: Settings, store: Store) -> Iterator[Outcome]:
        """Run every task and yield what became of it."""

    def each(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        """A function of every item in their order, by default here, one after another."""
        return map(function, items)
