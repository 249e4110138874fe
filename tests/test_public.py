"""The public surface: what `robusteval` offers, and what importing it costs."""

import subprocess
import sys

import pytest

import robusteval

PUBLIC = {"AttackOutcome", "Report", "RobustevalError", "__version__", "attack", "evaluate", "metrics"}


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
