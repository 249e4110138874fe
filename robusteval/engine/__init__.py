"""Layer 5: suite -> cells -> executor -> store."""

from robusteval.core.component import Registry
from robusteval.engine.executor import Executor

EXECUTORS: Registry[Executor] = Registry("executor", Executor, __name__)

__all__ = ["EXECUTORS", "Executor"]
