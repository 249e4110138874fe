"""Is this model robust, is it calibrated, and did it get worse?

Everything here is loaded when it is first used: importing robusteval imports no torch.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from robusteval import metrics as metrics
    from robusteval.attacks.drive import AttackOutcome as AttackOutcome
    from robusteval.core.errors import RobustevalError as RobustevalError
    from robusteval.engine.api import attack as attack
    from robusteval.engine.api import evaluate as evaluate
    from robusteval.engine.corrupt import corrupt as corrupt
    from robusteval.results.report import Report as Report

_HOMES = {
    "AttackOutcome": "robusteval.attacks.drive",
    "Report": "robusteval.results.report",
    "RobustevalError": "robusteval.core.errors",
    "attack": "robusteval.engine.api",
    "corrupt": "robusteval.engine.corrupt",
    "evaluate": "robusteval.engine.api",
    "metrics": "robusteval.metrics",
}

__all__ = ["AttackOutcome", "Report", "RobustevalError", "__version__", "attack", "corrupt", "evaluate", "metrics"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'robusteval' has no attribute {name!r}")
    import importlib

    home = importlib.import_module(_HOMES[name])
    return home if home.__name__ == f"{__name__}.{name}" else getattr(home, name)


def __dir__() -> list[str]:
    return sorted(__all__)
