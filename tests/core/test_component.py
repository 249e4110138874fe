import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import pytest

from robusteval.core.component import Component, Provider, Registry
from robusteval.core.errors import SpecError
from robusteval.core.spec import Quotient


@dataclass(frozen=True)
class Tool(Component):
    """The contract of these tests."""


@dataclass(frozen=True)
class Saw(Tool):
    name: ClassVar[str] = "saw"

    teeth: int
    width: float = Quotient("8", "255")
    wood: Literal["oak", "pine"] | None = None
    sharp: bool = True
    sizes: tuple[float, ...] = ()
    label: str | int = "x"


@dataclass(frozen=True)
class Nail(Tool):
    name: ClassVar[str] = "nail"


@dataclass(frozen=True)
class Shop(Provider, Tool):
    name: ClassVar[str] = "shop"


class Tools(Registry[Tool]):
    def _own(self):
        return iter([Saw, Nail, Shop])


TOOLS = Tools("tool", Tool, __name__)


@pytest.mark.parametrize(
    ("text", "component", "canonical"),
    [
        ("nail", Nail(), "nail"),
        ("saw(teeth=3)", Saw(3), "saw(teeth=3)"),
        ("saw(sharp=True, width=8/255, teeth=3)", Saw(3), "saw(teeth=3)"),
        ("saw(width=16/255, teeth=3)", Saw(3, 16 / 255), "saw(teeth=3, width=16/255)"),
        ("saw(teeth=3, width=1)", Saw(3, 1.0), "saw(teeth=3, width=1.0)"),
        ("saw(teeth=3, wood='oak', sharp=False)", Saw(3, wood="oak", sharp=False), None),
        ("saw(teeth=-3, sizes=(1/2, 3.5), label=7)", Saw(-3, sizes=(0.5, 3.5), label=7), None),
        ("saw(teeth=3, sizes=[1, 2])", Saw(3, sizes=(1.0, 2.0)), "saw(teeth=3, sizes=(1.0, 2.0))"),
        ("shop:drill", Shop("drill"), "shop:drill"),
        ("shop:big.drill(bit=1/2, on=True)", Shop("big.drill", (("bit", 0.5), ("on", True))), None),
    ],
)
def test_a_spec_and_its_component_are_one(text, component, canonical):
    parsed = TOOLS.parse(text)
    assert parsed == component
    assert parsed.spec == str(parsed) == (canonical or text)
    assert TOOLS.parse(parsed.spec) == parsed
    assert TOOLS.parse(parsed) is parsed
    assert hash(parsed) == hash(component)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sow(teeth=3)", "unknown tool 'sow(teeth=3)': did you mean 'saw'?"),
        ("naill", "unknown tool 'naill': did you mean 'nail'?"),
        ("shop", "unknown tool 'shop': did you mean 'shop:NAME'?"),
        ("shpo:drill(x=1)", "unknown tool 'shpo:drill(x=1)': did you mean 'shop:NAME'?"),
        ("xyz", "unknown tool 'xyz': choose from nail, saw, shop:NAME"),
        ("nail:x", "unknown tool 'nail:x': "),
        ("saw(tooth=3)", "spec 'saw(tooth=3)': saw has no parameter 'tooth'; did you mean 'teeth'?"),
        ("nail(size=3)", "spec 'nail(size=3)': nail has no parameter 'size'; it takes none"),
        ("saw", "spec 'saw': saw needs teeth, as in saw(teeth=...)"),
        ("saw(teeth=1, teeth=2)", "spec 'saw(teeth=1, teeth=2)': parameter 'teeth' is given twice"),
        ("saw(teeth=1.5)", "spec 'saw(teeth=1.5)': teeth must be int, not 1.5"),
        ("saw(teeth=True)", "spec 'saw(teeth=True)': teeth must be int, not True"),
        ("saw(teeth=8/2)", "spec 'saw(teeth=8/2)': teeth must be int, not 8/2"),
        ("saw(teeth=1, width=True)", "spec 'saw(teeth=1, width=True)': width must be float, not True"),
        ("saw(teeth=1, sharp=1)", "spec 'saw(teeth=1, sharp=1)': sharp must be bool, not 1"),
        (
            "saw(teeth=1, wood='ash')",
            "wood must be 'oak' or 'pine' or None, not 'ash'",
        ),
        ("saw(teeth=1, label=1.5)", "spec 'saw(teeth=1, label=1.5)': label must be str or int, not 1.5"),
        ("saw(teeth=1, sizes=1)", "spec 'saw(teeth=1, sizes=1)': sizes must be a list of float, not 1"),
        ("saw(teeth=1, sizes=(1, 'a'))", "sizes must be a list of float, not (1, 'a')"),
    ],
)
def test_what_does_not_fit_is_answered_with_what_would(text, said):
    with pytest.raises(SpecError) as caught:
        TOOLS.parse(text)
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


HAMMER = """
    from dataclasses import dataclass
    from typing import Any, ClassVar
    from robusteval.core.component import Component

    @dataclass(frozen=True)
    class Hammer(Component):
        name: ClassVar[str] = "claw-hammer"
        weight: int = 1
"""


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Makes a package of modules and gives its registry; what it imported is forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)

    def make(**modules: str) -> Registry[Component]:
        package = tmp_path / "scratch_tools"
        package.mkdir()
        for stem, source in {"__init__": "", **modules}.items():
            (package / f"{stem}.py").write_text(textwrap.dedent(source))
        return Registry("tool", Component, package.name)

    yield make
    for name in {name for name in set(sys.modules) - before if name.startswith("scratch_tools")}:
        del sys.modules[name]


def test_a_component_is_registered_by_existing(scratch):
    registry = scratch(claw_hammer=HAMMER, notes="from scratch_tools.claw_hammer import Hammer")
    assert list(registry.classes) == ["claw-hammer"]
    assert "claw-hammer" in registry
    assert registry.parse("claw-hammer(weight=2)").weight == 2
    assert registry.classes["claw-hammer"].version == 1
    with pytest.raises(TypeError):
        registry.classes["saw"] = Saw


@pytest.mark.parametrize(
    ("modules", "error", "said"),
    [
        ({"claw": HAMMER}, RuntimeError, "component 'claw-hammer' must stand in claw_hammer.py, not claw.py"),
        (
            {"claw_hammer": HAMMER + HAMMER.replace("class Hammer", "class Mallet")},
            RuntimeError,
            "two of kind tool",
        ),
        ({"claw_hammer": "import no_such_library"}, ModuleNotFoundError, "no_such_library"),
        ({"claw_hammer": "1 / 0"}, ZeroDivisionError, "division"),
    ],
)
def test_a_faulty_module_is_not_passed_over(scratch, modules, error, said):
    with pytest.raises(error, match=said):
        scratch(**modules).parse("claw-hammer")


PLUGIN = '''
"""A component of each of three kinds, from another distribution."""
from dataclasses import dataclass
from typing import ClassVar
import numpy as np
from robusteval.attacks.fgsm import Fgsm
from robusteval.corruptions import Corruption
from robusteval.metrics import Metric

@dataclass(frozen=True)
class Foreign(Fgsm):
    """An attack from far away."""
    name: ClassVar[str] = "foreign-attack"
    shots: int = 3

@dataclass(frozen=True)
class Rain(Corruption):
    """A corruption from far away."""
    name: ClassVar[str] = "foreign-rain"
    families = {"cifar": (0.1, 0.2)}

    def corrupt(self, x, severity, ids, rng):
        return x * (1 - self.constants(x, severity)[0])

@dataclass(frozen=True)
class Errors(Metric):
    """A metric from far away."""
    name: ClassVar[str] = "foreign-error"
    higher_is_better: ClassVar[bool] = False

    def weighted(self, predictions, weights):
        return weights @ (~predictions.correct) / weights.sum(axis=1)
'''
USE = """
import numpy as np, torch
from robusteval.attacks import ATTACKS
from robusteval.cli import main
from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS
from robusteval.metrics import METRICS, Predictions
from robusteval.probes import parse_view

attack = ATTACKS.parse("foreign-attack(eps=8/255, shots=5)")
print(attack, parse_view(str(attack)), parse_view("foreign-rain@2"))
x = torch.full((2, 1, 4, 4), 200 / 255)
print(CORRUPTIONS.parse("foreign-rain")(x, 2, torch.arange(2), Stream.seeded(0)).mul(255).unique().tolist())
print(METRICS.parse("foreign-error")(Predictions.from_logits(np.eye(4, dtype="f4"), np.array([0, 1, 2, 2]))))
main()
"""


def test_another_distribution_adds_components(tmp_path):
    (tmp_path / "far_away.py").write_text(PLUGIN)
    info = tmp_path / "far_away-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: far-away\nVersion: 1.0\n")
    points = "".join(f"{cls.lower()} = far_away:{cls}\n" for cls in ("Foreign", "Rain", "Errors"))
    (info / "entry_points.txt").write_text(f"[robusteval.components]\n{points}")
    command = [sys.executable, "-c", USE, "list", "attacks"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    said = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert said.returncode == 0, said.stderr
    first, rain, error, *listed = said.stdout.splitlines()
    assert "foreign-attack(eps=8/255, shots=5)" in first
    assert "foreign-rain" in first
    assert (rain, error) == ("[160.0]", "0.25")
    assert "  foreign-attack(eps, norm='linf', shots=3)" in listed
    assert "      An attack from far away." in listed


def test_a_registry_asks_for_any_type(scratch):
    registry = scratch(claw_hammer=HAMMER.replace("weight: int", "weight: Any"))
    for text in ("claw-hammer(weight='x')", "claw-hammer(weight=(1, None))"):
        assert registry.parse(text).spec == text
