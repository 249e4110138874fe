"""The serial executor: one worker in this process, for debugging and for models that live in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from robusteval.engine.executor import Executor
from robusteval.engine.plan import Settings, Task
from robusteval.engine.worker import Outcome, Worker
from robusteval.results.store import Store


@dataclass(frozen=True)
class Serial(Executor):
    """One task after another, on as many torch threads as a worker of any other executor has."""

    name: ClassVar[str] = "serial"

    def run(self, tasks: Sequence[Task], settings: Settings, store: Store) -> Iterator[Outcome]:
        """Run the tasks here; the number of torch threads is put back at the end."""
        threads = torch.get_num_threads()
        torch.set_num_threads(settings.threads)
        try:
            worker = Worker(settings, store)
            yield from map(worker.attempt, tasks)
        finally:
            torch.set_num_threads(threads)
