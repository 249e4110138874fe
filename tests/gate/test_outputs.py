import json
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from robusteval.gate import outputs, words
from robusteval.gate.check import Check, check
from robusteval.gate.rules import Rules
from robusteval.gate.verdict import Measured, Row


@pytest.fixture
def found() -> Check:
    """One row of each verdict."""
    known = Measured("net", "pgd(eps=[1/255, 2/255])", "accuracy", 1000, 0.85, 0.9, 0.05, 0.03, 0.07, 0.01, 1e-6)
    broken = replace(
        known, newly_broken=tuple(range(100, 170)), notes=("upper bound, potentially unreliable: unstable",)
    )
    failed = Measured("a<b|c", "fog@3", "accuracy", 1000, problem="the view failed: 50%\nof memory\x00 & more")
    rows = (
        Row(broken, 4e-6, "regressed"),
        Row(replace(known, view="fog@1", difference=-0.05), 4e-6, "improved"),
        Row(replace(known, view="clean", metric="ece", value=0.0123, baseline=0.01), 0.5, "ok"),
        Row(replace(known, view="fog@2", newly_broken=(5,)), 0.3, "cannot tell", 2300, "the interval reaches beyond"),
        Row(failed, float("nan"), "not comparable", None, failed.problem),
    )
    return Check("reports/new", "reports/old", Rules(level=0.1), rows, ("not compared: other",))


def test_json_holds_everything(found):
    whole = json.loads(outputs.as_json(found), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert (whole["verdict"], whole["exit_code"], whole["new"], whole["against"]) == (
        "not comparable",
        2,
        "reports/new",
        "reports/old",
    )
    assert whole["rules"]["level"] == 0.1
    assert [row["verdict"] for row in whole["rows"]] == ["regressed", "improved", "ok", "cannot tell", "not comparable"]
    assert whole["rows"][0]["newly_broken"] == list(range(100, 170))
    assert (whole["rows"][0]["difference"], whole["rows"][0]["adjusted_p"]) == (0.05, 4e-6)
    assert whole["rows"][3]["settle_n"] == 2300
    assert whole["rows"][4]["value"] is None


def test_junit_has_a_case_per_row(found):
    root = ElementTree.fromstring(outputs.as_junit(found))
    suite = root.find("testsuite")
    assert root.tag == "testsuites"
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "5",
        "failures": "1",
        "errors": "2",
        "skipped": "0",
    }
    cases = suite.findall("testcase")
    assert [[child.tag for child in case] for case in cases] == [
        ["failure", "system-out"],
        [],
        [],
        ["error", "system-out"],
        ["error"],
    ]
    assert (cases[0].get("classname"), cases[0].get("name")) == ("net", "pgd(eps=[1/255, 2/255]) accuracy")
    assert cases[0].find("system-out").text.endswith("168, 169")
    assert cases[4].get("classname") == "a<b|c"
    assert "50%\nof memory  & more" in cases[4].find("error").text


def test_github_commands(found):
    lines = outputs.github_commands(found)
    assert [line.partition(" ")[0] for line in lines] == ["::error", "::notice", "::warning", "::error"]
    assert all("\n" not in line for line in lines)
    assert lines[0].startswith(
        "::error title=regressed%3A net%2C pgd(eps=[1/255%2C 2/255])%2C accuracy::"
        "net, pgd(eps=[1/255, 2/255]), accuracy: 90.00%25 -> 85.00%25, worse by +5.00%25 [+3.00%25, +7.00%25] "
        "on 1000 samples; upper bound, potentially unreliable: unstable; newly broken: 100, 101,"
    )
    assert lines[0].endswith("119 and 50 more")
    assert "about 2300 samples would settle it" in lines[2]
    assert "50%25%0Aof memory" in lines[3]
    assert outputs.github_error("50%\noff") == "::error title=robusteval check::50%25%0Aoff"


def test_github_summary(found):
    page = outputs.github_summary(found)
    table = [line for line in page.splitlines() if line.startswith("|")]
    assert len(table) == 2 + 5
    assert {line.replace("\\|", "").count("|") for line in table} == {12}
    assert "90% interval" in table[0]
    assert "a\\<b\\|c" in table[-1]
    assert "newly broken: 100" in page


def test_words(found):
    assert words.cells(found.rows[0])[4:] == (
        "1000", "90.00%", "85.00%", "+5.00%", "[+3.00%, +7.00%]", "4e-06", "1.00%",
    )  # fmt: skip
    assert words.cells(found.rows[2])[5:7] == ("0.0100", "0.0123")
    assert words.cells(found.rows[4])[5:] == ("", "", "", "", "", "1.00%")
    assert words.tally(found.rows) == "1 regressed, 1 not comparable, 1 cannot tell, 1 improved, 1 ok"


def test_what_is_said_of_a_real_check(only):
    """The newly broken samples of an accuracy are in every output."""
    found = check(only("mixup-seed0"), only("erm-seed0"))
    row = next(row for row in found.rows if row.verdict == "regressed" and row.measured.metric == "accuracy")
    first = str(row.measured.newly_broken[0])
    for text in (
        outputs.as_json(found),
        outputs.as_junit(found),
        outputs.github_summary(found),
        "\n".join(outputs.github_commands(found)),
        "\n".join(words.remarks(found)),
    ):
        assert f"newly broken: {first}, " in text or f'"newly_broken": [\n        {first},' in text
