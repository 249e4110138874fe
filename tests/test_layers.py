"""The house of DESIGN 1: a module imports its own package and the layers below, nothing else of robusteval."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "robusteval"
ROOMS = {
    1: ["core"],
    2: ["data", "models", "corruptions", "metrics", "results"],
    3: ["attacks", "calibration"],
    4: ["variants", "probes"],
    5: ["training", "engine"],
    6: ["reporting", "gate"],
    7: ["cli", "pytest_plugin", "__init__", "__main__"],
}
LAYER = {room: layer for layer, rooms in ROOMS.items() for room in rooms}


def imported(tree: ast.AST, package: str) -> Iterator[tuple[int, str]]:
    """Line and absolute name of everything imported in a module of `package`, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{source}.{alias.name}") for alias in node.names)


def violations(source: str, module: str) -> list[str]:
    """The imports of a module, named as in `robusteval.engine.plan`, that break the rule."""
    room = module.split(".")[1]
    found = []
    for line, name in imported(ast.parse(source), module.rpartition(".")[0]):
        parts = name.split(".")
        if parts[0] != "robusteval" or name == "robusteval.__version__":
            continue
        other = parts[1] if len(parts) > 1 and parts[1] in LAYER else "__init__"
        if other != room and LAYER[other] >= LAYER[room]:
            found.append(f"{module}:{line} ({room}, layer {LAYER[room]}) imports {name} (layer {LAYER[other]})")
    return found


def name_of(path: Path) -> str:
    relative = path.relative_to(PACKAGE.parent).with_suffix("")
    return ".".join(relative.parts)


def test_every_room_has_a_layer():
    rooms = {name_of(path).split(".")[1] for path in PACKAGE.rglob("*.py")}
    assert rooms <= set(LAYER), f"no layer is stated for {sorted(rooms - set(LAYER))}"


def test_imports_go_down():
    found = [line for path in PACKAGE.rglob("*.py") for line in violations(path.read_text(), name_of(path))]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("source", "module", "count"),
    [
        ("from robusteval.engine.plan import Task", "robusteval.attacks.pgd", 1),
        ("import robusteval.metrics", "robusteval.corruptions.fog", 1),
        ("def f():\n    from robusteval.cli import app", "robusteval.engine.run", 1),
        ("from robusteval import metrics", "robusteval.data.npz", 1),
        ("from robusteval import evaluate", "robusteval.gate.verdict", 1),
        ("import robusteval", "robusteval.core.spec", 1),
        ("from ..engine import plan", "robusteval.attacks.pgd", 1),
        ("from .. import engine", "robusteval.attacks.pgd", 1),
        ("if TYPE_CHECKING:\n    from robusteval.probes import Probe", "robusteval.variants.erm", 1),
        ("from robusteval.core.rng import Stream, seeds", "robusteval.attacks.pgd", 0),
        ("from . import norms\nfrom .norms import l2", "robusteval.attacks.pgd", 0),
        ("from robusteval import __version__", "robusteval.results.schema", 0),
        ("import torch, numpy", "robusteval.core.rng", 0),
        ("from robusteval.engine.api import evaluate", "robusteval.__init__", 0),
    ],
)
def test_a_planted_violation_is_found(source, module, count):
    assert len(violations(source, module)) == count
