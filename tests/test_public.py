"""The public surface: what `robusteval` offers, and what importing it costs."""

import importlib
import inspect
import subprocess
import sys

import pytest

import robusteval
from robusteval.core.component import Registry

PUBLIC = {"AttackOutcome", "Report", "RobustevalError", "__version__", "attack", "corrupt", "evaluate", "metrics"}


def test_exactly_the_documented_names_are_public():
    assert set(robusteval.__all__) == set(dir(robusteval)) == PUBLIC
    assert list(robusteval.__all__) == sorted(robusteval.__all__)


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_name_exists(name):
    assert getattr(robusteval, name) is not None


def test_another_name_does_not_exist():
    with pytest.raises(AttributeError, match="module 'robusteval' has no attribute 'evalute'"):
        _ = robusteval.evalute


def test_importing_imports_nothing_heavy():
    heavy = ["torch", "numpy", "pandas", "scipy", "sklearn", "pyarrow", "pydantic", "typer", "matplotlib"]
    code = f"import sys, robusteval; print(*(set(sys.modules) & set({heavy})))"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.split() == []


def test_no_exported_name_is_hidden_by_the_module_of_a_component():
    """Importing `metrics/NAME.py` sets `metrics.NAME`, whatever stood there."""
    packages = ("attacks", "calibration", "corruptions", "data", "engine", "metrics", "models", "probes", "variants")
    for name in packages:
        package = importlib.import_module(f"robusteval.{name}")
        for registry in (value for value in vars(package).copy().values() if isinstance(value, Registry)):
            assert registry.classes
        assert not [public for public in package.__all__ if inspect.ismodule(getattr(package, public))]
