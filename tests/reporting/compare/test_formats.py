import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from robusteval.core.errors import InputError
from robusteval.reporting.compare import Comparison, Pool, compare
from robusteval.reporting.compare.columns import Column
from robusteval.reporting.compare.formats import rendered
from robusteval.reporting.compare.grids import LONG, number

Make = Callable[..., Path]
SPECIAL = r"we&ird_100%#1 {a}|$b ~c^d\e<f>@g"


@pytest.fixture(scope="module")
def comparison(small: Path) -> Comparison:
    return compare(Pool.read([small]), baseline="erm")


@pytest.fixture(scope="module")
def odd(make_report: Make, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Names that every form must escape, one checkpoint each."""
    models = {SPECIAL: ("a", 0, 1.0), "[bracket]": ("b", 0, 2.5), "<script>alert(1)</script>": ("c", 0, 2.0)}
    folder = make_report(tmp_path_factory.mktemp("odd") / "report", models)
    return compare(Pool.read([folder]), baseline=SPECIAL)


def test_markdown(comparison: Comparison) -> None:
    lines = rendered(comparison, "markdown").decode().splitlines()
    assert lines[0].startswith("| variant | seeds | clean | pgd(eps=8/255, steps=10), quick | mean of 2 corrupted |")
    assert lines[1] == "| --- |" + " ---: |" * 6
    assert lines[2].startswith("| erm | 3 | ")
    assert "| **" in lines[3]
    assert "Difference to erm:" in lines
    table = lines[lines.index("Difference to erm:") + 2 :]
    assert re.match(r"\| new \| 3 \| \+\d+\.\d \[[+-]?\d+\.\d, \+\d+\.\d\]", table[2])
    assert any(line.startswith("- Tests: Welch's t-test") for line in lines)
    assert rendered(comparison, "terminal") == rendered(comparison, "markdown")


def test_a_cell_of_markdown_ends_where_it_should(odd: Comparison) -> None:
    lines = [line for line in rendered(odd, "markdown").decode().splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {7}


def test_long_forms_hold_the_same_rows(comparison: Comparison, tmp_path: Path) -> None:
    for form in ("csv", "parquet"):
        (tmp_path / f"t.{form}").write_bytes(rendered(comparison, form))
    one, other = pd.read_csv(tmp_path / "t.csv"), pd.read_parquet(tmp_path / "t.parquet")
    assert list(one.columns) == list(other.columns) == list(LONG)
    for name in ("value", "spread", "difference", "p_holm"):
        assert one[name].tolist() == pytest.approx(other[name].tolist(), nan_ok=True)
    found = json.loads(rendered(comparison, "json"))
    assert found["baseline"] == "erm"
    assert [row["value"] for row in found["rows"]] == pytest.approx(other["value"].tolist())
    assert found["rows"][0]["difference"] is None
    assert found["rows"][0]["test"] is None
    assert found["notes"]


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_page_needs_nothing_else_and_escapes(odd: Comparison) -> None:
    page, text = Page(), rendered(odd, "html").decode()
    page.feed(text)
    assert page.tags.count("table") == 2
    assert page.tags.count("tr") == 1 + 3 + 1 + 2
    assert not page.links
    assert "script" not in page.tags
    assert "<strong>" in text


def test_an_unknown_form_is_refused(comparison: Comparison) -> None:
    with pytest.raises(InputError, match="format='latx': did you mean 'latex'"):
        rendered(comparison, "latx")


def test_numbers() -> None:
    rate, nats = Column("x", ("clean",), "accuracy"), Column("x", ("linearity",), "gamma")
    assert [number(v, rate, True) for v in (0.01234, -0.5, 0.0001, -0.0001)] == ["+1.2", "-50.0", "0.0", "0.0"]
    assert (number(0.93, rate), number(1.23456, nats), number(0.0, rate)) == ("93.0", "1.235", "0.0")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not on this machine")
def test_latex_compiles(comparison: Comparison, odd: Comparison, tmp_path: Path) -> None:
    tables = "\n\n".join(rendered(each, "latex", True).decode() for each in (comparison, odd))
    head = r"\documentclass{article}\usepackage[paperwidth=200cm]{geometry}\usepackage{booktabs}\begin{document}"
    (tmp_path / "t.tex").write_text(f"{head}\n{tables}\n\\end{{document}}\n")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Missing character" not in (tmp_path / "t.log").read_text(errors="replace")
    assert (tmp_path / "t.pdf").stat().st_size > 5000


def test_latex_has_the_rules_of_booktabs(odd: Comparison) -> None:
    text = rendered(odd, "latex").decode()
    lines = [line for line in text.splitlines() if not line.startswith("%")]
    assert text.count(r"\toprule") == text.count(r"\midrule") == text.count(r"\bottomrule") == 2
    assert r"we\&ird\_100\%\#1 \{a\}" in text
    assert "{[bracket]}" in text
    assert "$-$" in text
    assert all(line.isascii() for line in lines)
