"""What a check found, for machines: JSON, JUnit's XML, and the commands of a GitHub workflow."""

import json
import math
from typing import Any
from xml.etree import ElementTree

from robusteval.gate.check import Check
from robusteval.gate.verdict import Row
from robusteval.gate.words import annotation, escaped, markdown, name, remarks, remarks_on

FORMAT = 1
CODES = {0: "ok", 1: "regressed", 2: "not comparable", 3: "cannot tell"}


def as_json(found: Check) -> str:
    """Everything, as JSON; what is not a number is null."""
    whole = {
        "format": FORMAT,
        "verdict": CODES[found.exit_code],
        "exit_code": found.exit_code,
        "new": found.new,
        "against": found.old,
        "rules": found.rules.model_dump(mode="json"),
        "notes": list(found.notes),
        "rows": [_fields(row) for row in found.rows],
    }
    return json.dumps(whole, indent=2, allow_nan=False) + "\n"


def as_junit(found: Check) -> str:
    """One test case per row, as JUnit has them: a regression is a failure, what cannot be told is an error."""
    verdicts = [row.verdict for row in found.rows]
    undecided = sum(verdict in ("cannot tell", "not comparable") for verdict in verdicts)
    counts = {"tests": len(verdicts), "failures": verdicts.count("regressed"), "errors": undecided, "skipped": 0}
    numbers = {name: str(count) for name, count in counts.items()}
    root = ElementTree.Element("testsuites", numbers)
    suite = ElementTree.SubElement(root, "testsuite", {"name": "robusteval check", **numbers, "time": "0"})
    for row in found.rows:
        _case(suite, row)
    return _document(root)


def refused_json(line: str) -> str:
    """A check that could not be made, as JSON."""
    return (
        json.dumps({"format": FORMAT, "verdict": CODES[2], "exit_code": 2, "reason": line, "rows": []}, indent=2) + "\n"
    )


def refused_junit(line: str) -> str:
    """A check that could not be made, as one test case with an error."""
    numbers = {"tests": "1", "failures": "0", "errors": "1", "skipped": "0"}
    root = ElementTree.Element("testsuites", numbers)
    suite = ElementTree.SubElement(root, "testsuite", {"name": "robusteval check", **numbers, "time": "0"})
    case = ElementTree.SubElement(suite, "testcase", {"classname": "robusteval", "name": "check", "time": "0"})
    ElementTree.SubElement(case, "error", {"type": CODES[2], "message": _printable(line)})
    return _document(root)


def github_commands(found: Check) -> list[str]:
    """Workflow commands, which GitHub shows as annotations: one for each row that is not in order."""
    kinds = {"regressed": "error", "not comparable": "error", "cannot tell": "warning", "improved": "notice"}
    return [
        f"::{kinds[row.verdict]} title={_property(f'{row.verdict}: {name(row)}')}::{_data(annotation(row))}"
        for row in found.rows
        if row.verdict in kinds
    ]


def github_error(line: str) -> str:
    """The workflow command for a check that could not be made."""
    return f"::error title=robusteval check::{_data(line)}"


def github_summary(found: Check) -> str:
    """A Markdown page for the summary of a workflow's step."""
    sides = f"{escaped(found.new)} against {escaped(found.old)}"
    said = "".join(f"- {escaped(remark)}\n" for remark in remarks(found))
    return f"## robusteval check: {CODES[found.exit_code]}\n\n{sides}\n\n{markdown(found)}\n{said}"


def _fields(row: Row) -> dict[str, Any]:
    of = row.measured
    numbers = ("value", "baseline", "difference", "low", "high", "p")
    return {
        "model": of.model,
        "view": of.view,
        "metric": of.metric,
        "n": of.n,
        **{field: _finite(getattr(of, field)) for field in numbers},
        "adjusted_p": _finite(row.adjusted),
        "margin": of.margin,
        "verdict": row.verdict,
        "settle_n": row.settle_n,
        "reason": row.reason,
        "grade": of.grades[0],
        "baseline_grade": of.grades[1],
        "notes": list(of.notes),
        "newly_broken": list(of.newly_broken),
    }


def _case(suite: ElementTree.Element, row: Row) -> None:
    of, clean = row.measured, _printable
    case = ElementTree.SubElement(
        suite, "testcase", {"classname": clean(of.model), "name": clean(f"{of.view} {of.metric}"), "time": "0"}
    )
    tag = {"regressed": "failure", "cannot tell": "error", "not comparable": "error"}.get(row.verdict)
    if tag is not None:
        fault = ElementTree.SubElement(case, tag, {"type": row.verdict, "message": clean(annotation(row))})
        fault.text = clean("\n".join([annotation(row), *remarks_on(row)]))
    if of.newly_broken:
        said = ElementTree.SubElement(case, "system-out")
        said.text = f"newly broken: {', '.join(map(str, of.newly_broken))}"


def _document(root: ElementTree.Element) -> str:
    ElementTree.indent(root)
    text: str = ElementTree.tostring(root, encoding="unicode", xml_declaration=False)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _printable(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
