"""The GitHub workflow in the README: it parses, and what it runs exists."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from robusteval.cli.app import app

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"^```yaml\n(?P<text># \.github/workflows/.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def workflow() -> dict[Any, Any]:
    (found,) = [yaml.safe_load(match["text"]) for match in BLOCK.finditer(README.read_text())]
    assert isinstance(found, dict)
    return found


def steps(workflow: dict[Any, Any]) -> list[dict[str, Any]]:
    (job,) = workflow["jobs"].values()
    assert job["runs-on"].startswith("ubuntu-")
    found: list[dict[str, Any]] = job["steps"]
    return found


def test_it_is_a_workflow(workflow: dict[Any, Any]) -> None:
    triggers = workflow[True]  # YAML 1.1 reads `on` as true
    assert {"pull_request", "workflow_dispatch"} <= set(triggers)
    assert workflow["permissions"] == {"contents": "read"}
    for step in steps(workflow):
        assert ("uses" in step) != ("run" in step), step
        assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step.get("uses", "actions/checkout@v4"))


def test_its_commands_and_options_exist(workflow: dict[Any, Any]) -> None:
    command = typer.main.get_command(app)
    lines = [line for step in steps(workflow) for line in step.get("run", "").replace("\\\n", " ").splitlines()]
    calls = [shlex.split(line)[1:] for line in lines if line.startswith("robusteval ")]
    assert [call[0] for call in calls] == ["eval", "check"]
    for verb, *arguments in calls:
        known = {name for parameter in command.commands[verb].params for name in parameter.opts}
        used = {argument for argument in arguments if argument.startswith("--")}
        assert used <= known, used - known
        command.commands[verb].make_context(verb, arguments)


def test_it_keeps_what_the_check_writes(workflow: dict[Any, Any]) -> None:
    check = next(step["run"] for step in steps(workflow) if "robusteval check" in step.get("run", ""))
    (upload,) = [step for step in steps(workflow) if "upload-artifact" in step.get("uses", "")]
    assert upload["if"] == "always()"
    assert all(path in check for path in upload["with"]["path"].split())
    assert "--github" in check
