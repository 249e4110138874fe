"""The pytest plugin, in runs of pytest inside this one."""

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import robusteval
from robusteval.engine import api
from robusteval.gate import baseline, check, words
from robusteval.gate.sides import read_report

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[1]

# The rows of the images are their classes, and a broken model is blind to some.
PREAMBLE = """
import pytest, torch
from robusteval.engine.suite import Group, Suite

images = torch.eye(4).repeat(25, 1).reshape(100, 1, 2, 2) * 0.8 + 0.1
data = (images, torch.arange(4).repeat(25))
suite = Suite(name="tiny", views=(Group(specs=("clean",)),))


class Net(torch.nn.Module):
    def __init__(self, blind=0):
        super().__init__()
        self.weight = torch.nn.Parameter(9 * torch.eye(4))
        with torch.no_grad():
            self.weight[:, :blind] = 0

    def forward(self, x):
        return x.flatten(1) @ self.weight

"""
RETURNED = """
@pytest.mark.robustness(baseline="kept/net.parquet", data=data, suite=suite)
def test_net():
    return Net(BLIND)
"""
HANDED_OVER = """
pytestmark = pytest.mark.robustness(suite=suite, baseline="somewhere else")

@pytest.mark.robustness(baseline="kept/net.parquet")
def test_net(robustness):
    found = robustness(Net(BLIND), data=data)
    assert found is None or [row.verdict for row in found.rows] == ["ok", "ok"]
"""


@pytest.fixture(autouse=True, scope="module")
def _loaded(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What an inner run imports, it drops in the end: all that it needs is here before."""
    scope: dict[str, object] = {"__name__": "warm"}
    exec(PREAMBLE, scope)
    folder = tmp_path_factory.mktemp("warm")
    api.evaluate(scope["Net"](), scope["data"], scope["suite"], out=folder / "report")
    side = read_report(folder / "report")
    baseline.write(folder / "net.parquet", side)
    words.remarks(check.check(side, baseline.read(folder / "net.parquet")))


def run(pytester: pytest.Pytester, test: str, *options: str, blind: int = 0) -> pytest.RunResult:
    # Under a name of its own: a file written twice in a second would be taken for the first.
    name = f"test_number_{len(list(pytester.path.glob('test_*.py')))}"
    file = pytester.makepyfile(**{name: PREAMBLE + test.replace("BLIND", str(blind))})
    # By its module's name, whether or not the package was installed with its entry point.
    plugin = ("-p", "no:robusteval", "-p", "robusteval.pytest_plugin")
    others = [part for other in ("cacheprovider", "xdist", "hypothesispytest") for part in ("-p", f"no:{other}")]
    return pytester.runpytest_inprocess(*plugin, *others, "--strict-markers", *options, file)


@pytest.mark.parametrize("test", [RETURNED, HANDED_OVER], ids=["returned", "handed-over"])
def test_the_life_of_a_baseline(pytester: pytest.Pytester, test: str) -> None:
    result = run(pytester, test)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*kept/net.parquet*there is no such file; pytest --robustness-update writes it"])

    result = run(pytester, test, "--robustness-update", "-rA")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*written: *kept/net.parquet"])
    assert (pytester.path / "kept/net.parquet").is_file()

    run(pytester, test).assert_outcomes(passed=1)

    result = run(pytester, test, blind=2)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*robustness: *regressed*",
            "verdict *model *view *metric *n *baseline *new *worse by*",
            "regressed *Net *clean *accuracy *100 *100.00% *",
            "*Net, clean, accuracy: *newly broken: *",
        ]
    )
    assert "pytest_plugin.py" not in result.stdout.str(), "no traceback of ours"


def test_too_few_samples_fail_as_well(pytester: pytest.Pytester) -> None:
    test = RETURNED.replace("suite=suite", "suite=suite, samples=20")
    run(pytester, test, "--robustness-update").assert_outcomes(passed=1)
    result = run(pytester, test, blind=1)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*cannot tell*", "*samples would settle it*"])


@pytest.mark.parametrize(
    ("test", "line"),
    [
        (RETURNED.replace("baseline=", "basline="), "*there is no such option; did you mean 'baseline'[?]"),
        (RETURNED.replace('baseline="kept/net.parquet", ', ""), "*baseline=None: name the file*"),
        (RETURNED.replace("baseline=", ""), "*options have names, as in baseline='net.parquet'"),
        (RETURNED.replace("return ", ""), "*the test must return its model, or call the fixture robustness with it"),
        (RETURNED.replace("data=data, ", "") + "\n", "*data=None: a model in memory needs data*"),
    ],
    ids=["unknown-option", "no-baseline", "no-name", "no-model", "no-data"],
)
def test_mistakes_are_explained_in_a_line(pytester: pytest.Pytester, test: str, line: str) -> None:
    result = run(pytester, test, "--robustness-update")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([line])
    assert not (pytester.path / "kept").exists()


def test_rules_are_read_below_the_root(pytester: pytest.Pytester) -> None:
    (pytester.path / "rules.toml").write_text('gates = [{views = ["clean"], metrics = ["accuracy"], margin = 0.9}]')
    test = RETURNED.replace("data=data", 'data=data, rules="rules.toml"')
    run(pytester, test, "--robustness-update").assert_outcomes(passed=1)
    run(pytester, test, blind=1).assert_outcomes(passed=1)


def test_other_tests_are_left_alone(pytester: pytest.Pytester) -> None:
    run(pytester, "def test_other(tmp_path):\n    assert tmp_path.is_dir()\n").assert_outcomes(passed=1)


def test_the_mark_and_the_option_are_documented(pytester: pytest.Pytester) -> None:
    run(pytester, "", "--markers").stdout.fnmatch_lines(["@pytest.mark.robustness(baseline, suite, *"])
    run(pytester, "", "--help").stdout.fnmatch_lines(["*--robustness-update*"])


def test_the_entry_point_is_this_module() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    assert declared == {"robusteval": "robusteval.pytest_plugin"}
    assert importlib.import_module(declared["robusteval"]).pytest_configure is not None


def test_importing_it_costs_nothing() -> None:
    heavy = ["torch", "numpy", "pandas", "scipy", "sklearn", "pyarrow", "pydantic", "typer", "matplotlib"]
    code = f"import sys, robusteval.pytest_plugin; print(*(set(sys.modules) & set({heavy})))"
    place = str(Path(robusteval.__file__).parents[1])
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=place)
    assert done.stdout.split() == []
