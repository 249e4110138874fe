"""`robusteval list`: every component that a spec can name, with its parameters."""

from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from robusteval.core.errors import InputError, nearest

if TYPE_CHECKING:
    from robusteval.core.component import Component, Registry


def list_components(
    kind: Annotated[str | None, typer.Argument(help="One kind, such as attacks; all by default.")] = None,
) -> None:
    """List what a spec can name: attacks, corruptions, variants, metrics, data sets, ..., and suites and recipes."""
    from robusteval.attacks import ATTACKS
    from robusteval.calibration import RECALIBRATORS
    from robusteval.core import config
    from robusteval.corruptions import CORRUPTIONS
    from robusteval.data import DATA
    from robusteval.engine import EXECUTORS
    from robusteval.metrics import METRICS
    from robusteval.models import ARCHITECTURES
    from robusteval.probes import PROBES
    from robusteval.reporting.plots import PLOTS
    from robusteval.variants import VARIANTS

    registries: dict[str, Registry[Any]] = {
        "attacks": ATTACKS,
        "corruptions": CORRUPTIONS,
        "variants": VARIANTS,
        "metrics": METRICS,
        "recalibrators": RECALIBRATORS,
        "probes": PROBES,
        "architectures": ARCHITECTURES,
        "data": DATA,
        "executors": EXECUTORS,
        "plots": PLOTS,
    }
    home = config.suites()
    files = {
        "suites": {path.relative_to(home): path for folder in ("", "papers/") for path in home.glob(f"{folder}*.toml")},
        "recipes": {path.relative_to(home / "train"): path for path in home.glob("train/*.toml")},
    }
    if kind is not None and kind not in {*registries, *files}:
        raise InputError(f"kind={kind!r}: {nearest(kind, [*registries, *files])}")
    for name, registry in registries.items():
        if kind in (None, name):
            _section(name, [(_signature(cls), _summary(cls)) for cls in registry.classes.values()])
    for name, paths in files.items():
        if kind in (None, name):
            found = sorted(paths.items())
            _section(name, [(str(title.with_suffix("")), _first_comment(path.read_text())) for title, path in found])


def _section(title: str, rows: list[tuple[str, str]]) -> None:
    print(title)
    for signature, summary in rows:
        print(f"  {signature}\n      {summary}")
    print()


def _signature(cls: "type[Component]") -> str:
    from robusteval.core.component import Provider

    if issubclass(cls, Provider):
        return f"{cls.name}:NAME(...)"
    known = [field.name if field.default is MISSING else f"{field.name}={field.default!r}" for field in fields(cls)]
    return f"{cls.name}({', '.join(known)})" if known else cls.name


def _summary(cls: "type[Component]") -> str:
    return (cls.__doc__ or "").strip().splitlines()[0]


def _first_comment(text: str) -> str:
    import tomllib

    described = str(tomllib.loads(text).get("description", ""))
    return described or next((line.lstrip("# ") for line in text.splitlines() if line.startswith("#")), "")
