"""For pytest: a model's own tests fail where it got worse than its baseline.

    @pytest.mark.robustness(baseline="baselines/net.parquet", suite="quick", data="cifar10", samples=1000)
    def test_net():
        return load_my_model()

or, with data that are made in the test, `robustness(model, data=(images, labels))` with the fixture of that name.
`pytest --robustness-update` writes the baselines. Importing this costs nothing: pytest does so in every project.
"""

import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from robusteval.core.errors import InputError, RecordError, RobustevalError, nearest

if TYPE_CHECKING:
    from robusteval.engine.api import Data, Model
    from robusteval.engine.suite import Samples, Suite
    from robusteval.gate.check import Check
    from robusteval.gate.rules import Rules

MARK = "robustness"
UPDATE = "--robustness-update"


@dataclass(frozen=True)
class Options:
    """How a model is measured and what with it is compared.

    Attributes:
        baseline: a baseline file or a report folder; a relative path is below pytest's root directory.
        suite: by name, as a TOML file, or as it is.
        data: a data spec, a pair of images and labels, or a DataLoader; by default what a checkpoint's card names.
        samples: how many, from the first on; by default what the suite says.
        rules: of the gate, or the TOML file with them; a relative path is below pytest's root directory.
        seed: of every random number; that of the baseline.
        device: `cpu`, `cuda`, or `auto`.
    """

    baseline: str | Path | None = None
    suite: "str | Suite" = "quick"
    data: "Data | None" = None
    samples: "Samples | None" = None
    rules: "str | Path | Rules | None" = None
    seed: int = 0
    device: str = "cpu"

    def given(self, options: Mapping[str, Any]) -> "Options":
        """With other options in place of these.

        Raises:
            InputError: there is no such option.
        """
        known = [field.name for field in fields(self)]
        for name in options:
            if name not in known:
                raise InputError(f"{MARK}({name}=...): there is no such option; {nearest(name, known)}")
        return replace(self, **options)


@dataclass(frozen=True)
class Robustness:
    """What a test calls with its model.

    Attributes:
        item: the test, whose marks are the defaults.
    """

    item: pytest.Item

    def __call__(self, model: "Model | str | Path", **options: Any) -> "Check | None":
        """Measure a model, and fail the test unless it is as good as its baseline.

        Args:
            model: a module, a function, or the path of a checkpoint.
            options: stand in for those of the mark `robustness`: see `Options`.

        Returns:
            What the gate found; None where the baseline was written instead.
        """
        __tracebackhide__ = True
        try:
            found = self._checked(model, self._options(options))
        except RobustevalError as error:
            pytest.fail(f"{MARK}: {error}", pytrace=False)
        if found is not None and found.exit_code:
            pytest.fail(_said(found), pytrace=False)
        return found

    def _options(self, given: dict[str, Any]) -> Options:
        """The nearest mark has the last word before the call's own."""
        options = Options()
        for mark in reversed(list(self.item.iter_markers(MARK))):
            if mark.args:
                raise InputError(f"{MARK}({mark.args[0]!r}): options have names, as in baseline='net.parquet'")
            options = options.given(mark.kwargs)
        return options.given(given)

    def _checked(self, model: "Model | str | Path", options: Options) -> "Check | None":
        from robusteval.engine.api import evaluate
        from robusteval.gate import baseline
        from robusteval.gate.check import check
        from robusteval.gate.pairs import read_side
        from robusteval.gate.sides import read_report

        kept, rules, update = self._baseline(options), self._rules(options), self.item.config.getoption(UPDATE)
        old = None if update else read_side(kept)
        with tempfile.TemporaryDirectory(prefix="robusteval-") as scratch:
            folder = Path(scratch) / "report"
            evaluate(
                model,
                options.data,
                options.suite,
                samples=options.samples,
                seed=options.seed,
                device=options.device,
                out=folder,
            )
            new = replace(read_report(folder), name="the model")
            if old is not None:
                return check(new, old, rules)
            baseline.write(kept, new)
        self.item.add_report_section("call", MARK, f"written: {kept}")
        return None

    def _baseline(self, options: Options) -> Path:
        if options.baseline is None:
            raise InputError(f"baseline=None: name the file, as in @pytest.mark.{MARK}(baseline='net.parquet')")
        path = self.item.config.rootpath / options.baseline
        if not path.exists() and not self.item.config.getoption(UPDATE):
            raise RecordError(f"baseline={str(path)!r}: there is no such file; pytest {UPDATE} writes it")
        return path

    def _rules(self, options: Options) -> "Rules":
        from robusteval.gate.rules import Rules

        if options.rules is None or isinstance(options.rules, Rules):
            return options.rules or Rules()
        return Rules.read(self.item.config.rootpath / options.rules)


@pytest.fixture(name=MARK)
def _robustness(request: pytest.FixtureRequest) -> Robustness:
    """Fail a test whose model is worse than its baseline: robustness(model, data=..., baseline=...)."""
    return Robustness(request.node)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option that writes baselines."""
    text = "Write the baselines of the tests marked robustness, and compare nothing."
    parser.getgroup("robusteval").addoption(UPDATE, action="store_true", help=text)


def pytest_configure(config: pytest.Config) -> None:
    """The mark."""
    options = ", ".join(field.name for field in fields(Options))
    text = "the model that the test returns, or hands to the fixture robustness, must be as good as its baseline"
    config.addinivalue_line("markers", f"{MARK}({options}): {text}.")


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Check the model that a marked test returns."""
    if pyfuncitem.get_closest_marker(MARK) is None or MARK in pyfuncitem.fixturenames:
        return (yield)
    test = pyfuncitem.obj
    pyfuncitem.obj = _checking(test, pyfuncitem)
    try:
        return (yield)
    finally:
        pyfuncitem.obj = test


def _checking(test: Callable[..., Any], item: pytest.Item) -> Callable[..., None]:
    def call(**arguments: object) -> None:
        __tracebackhide__ = True
        model = test(**arguments)
        if model is None:
            pytest.fail(f"{MARK}: the test must return its model, or call the fixture {MARK} with it", pytrace=False)
        Robustness(item)(model)

    return call


def _said(found: "Check") -> str:
    """The table of the gate, and what is to be said of its rows."""
    from robusteval.gate import words

    table = _aligned([words.headings(found), *map(words.cells, found.rows)])
    return "\n".join([f"{MARK}: {words.tally(found.rows)}", *table, *words.remarks(found)])


def _aligned(rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
