"""The processes executor: one worker per core, or per GPU, on this machine."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from typing import Any, ClassVar

import torch

from robusteval.core.errors import RecordError, require
from robusteval.engine.executor import Executor, Item, Result
from robusteval.engine.plan import Settings, Task
from robusteval.engine.worker import Outcome, Worker
from robusteval.results.store import Store

# The pool hands a task to a function and nothing else, so each process keeps its worker here.
_workers: list[Worker] = []


@dataclass(frozen=True)
class Processes(Executor):
    """Fresh processes that take tasks in order.

    Attributes:
        workers: processes; by default one per core that this process may use, or one per GPU.
    """

    name: ClassVar[str] = "processes"

    workers: int | None = None

    def __post_init__(self) -> None:
        require(self.workers is None or self.workers >= 1, "workers", "must be at least 1", self.workers)

    def run(self, tasks: Sequence[Task], settings: Settings, store: Store) -> Iterator[Outcome]:
        """Run the tasks; what a worker had not finished when it died is missing and comes next time."""
        count = min(len(tasks), self.workers or default_workers(settings.device))
        if count == 0:
            return
        number = multiprocessing.get_context("spawn").Value("i", 0)
        with _pool(count, _begin, settings, store, number) as pool:
            with _uninterrupted():
                futures = [pool.submit(_attempt, task) for task in tasks]
            for future in as_completed(futures):
                yield future.result()

    def each(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        """A function of every item in their order, by as many processes as there are cores."""
        count = min(len(items), self.workers or default_workers("cpu"))
        with _pool(max(count, 1), _follow) as pool:
            with _uninterrupted():
                found = pool.map(function, items)
            yield from found


def default_workers(device: str) -> int:
    """One per GPU, else one per core of this process."""
    return torch.cuda.device_count() if device == "cuda" else len(os.sched_getaffinity(0))


@contextmanager
def _pool(count: int, begin: Callable[..., None], *arguments: Any) -> Iterator[ProcessPoolExecutor]:
    """Fresh processes, which end with this one."""
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), begin, arguments)
    try:
        yield pool
    except KeyboardInterrupt:
        for worker in multiprocessing.active_children():
            worker.terminate()
        raise
    except BrokenProcessPool:
        raise RecordError(
            "a worker died, perhaps for lack of memory; finished shards are kept: run the same command again, "
            "with fewer --workers or a smaller --batch-size"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Processes started inside never see Ctrl-C: the parent does, a moment later, and ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(settings: Settings, store: Store, number: "Synchronized[int]") -> None:
    """Set up this process: its threads, its GPU, its worker, and its end when the parent ends."""
    _follow()
    torch.set_num_threads(settings.threads)
    if settings.device == "cuda":
        with number.get_lock():
            torch.cuda.set_device(number.value % torch.cuda.device_count())
            number.value += 1
    _workers.append(Worker(settings, store))


def _follow() -> None:
    threading.Thread(target=_follow_parent, daemon=True).start()


def _attempt(task: Task) -> Outcome:
    return _workers[0].attempt(task)


def _follow_parent() -> None:
    """A killed parent cannot tell its workers to stop, and they would wait for tasks for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
