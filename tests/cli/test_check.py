"""`robusteval check` on real checkpoints: what it says, its exit codes, and the files it writes."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
import torch

import robusteval
from robusteval.engine import suite as suites
from robusteval.engine.suite import Group, Suite
from robusteval.gate import baseline
from robusteval.gate.sides import read_report
from robusteval.models.checkpoint import load, save
from robusteval.results import files

ROOT = Path(__file__).parents[2]
ERM = ROOT / "checkpoints/fashion-mnist/erm-seed0.safetensors"
COMMITTED = ROOT / "reports/fashion-mnist"
SUITE = Suite(name="few", samples=1000, views=(Group(specs=("clean", "gaussian-noise@3", "fgsm(eps=2/255)")),))

Reports = Callable[[str], Path]


def noisy(path: Path) -> Path:
    """A copy of a bundled checkpoint with Gaussian noise of half each weight tensor's standard deviation."""
    loaded = load(ERM)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in loaded.model.parameters():
            spread = parameter.std() if parameter.numel() > 1 else torch.zeros(())
            parameter += 0.5 * spread * torch.randn(parameter.shape, generator=generator)
    save(path, loaded.model, loaded.card)
    return path


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reports of the bundled checkpoint, of it again, of its noisy copy, and of fewer samples."""
    folder = tmp_path_factory.mktemp("reports")
    robusteval.evaluate(ERM, suite=SUITE, out=folder / "erm")
    robusteval.evaluate(noisy(folder / "noisy.safetensors"), suite=SUITE, out=folder / "noisy")
    robusteval.evaluate(ERM, suite=SUITE, samples=200, out=folder / "fewer")
    return folder


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    return tmp_path


def test_a_checkpoint_against_itself_is_ok(command, reports, place):
    again = place / "again"
    robusteval.evaluate(ERM, suite=Suite(name="few", views=(Group(specs=("clean",)),)), samples=1000, out=again)
    answer = command("check", reports / "erm", "--against", reports / "erm")
    assert answer.code == 0, answer
    assert answer.out.splitlines()[-1] == "ok: 4 ok (exit code 0)"
    assert re.search(r"\| ok +\| erm-seed0 \| fgsm\(eps=2/255\) +\| accuracy \| 1000 \|", answer.out)
    (place / "clean.toml").write_text('[[gates]]\nviews = ["clean"]\nmetrics = ["accuracy", "ece"]\n')
    assert command("check", again, "--against", reports / "erm", "--rules", "clean.toml").code == 0


def test_a_noisy_copy_has_regressed(command, reports, place):
    files_ = "--junit", "out/junit.xml", "--json", "out/check.json"
    answer = command("check", reports / "noisy", "--against", reports / "erm", *files_)
    assert answer.code == 1, answer
    assert answer.out.splitlines()[-1].startswith("regressed: ")
    whole = json.loads(Path("out/check.json").read_text())
    clean = whole["rows"][0]
    assert (clean["model"], clean["view"], clean["metric"], clean["verdict"]) == (
        "noisy",
        "clean",
        "accuracy",
        "regressed",
    )
    assert clean["difference"] > 0.05
    assert len(clean["newly_broken"]) > 50
    cut = ", ".join(map(str, clean["newly_broken"][:20]))
    assert f"newly broken: {cut} and {len(clean['newly_broken']) - 20} more" in answer.out
    cases = ElementTree.parse("out/junit.xml").getroot().findall("testsuite/testcase")
    assert len(cases) == len(whole["rows"]) == 4
    assert cases[0].find("failure") is not None
    assert command("check", reports / "erm", "--against", reports / "noisy").code == 0, "the other way it improved"


def test_a_part_of_the_committed_report(command, reports, place):
    """Another run on this machine, against what is in the repository: rules leave out the view that only one has."""
    (place / "rules.toml").write_text('[[gates]]\nviews = ["clean"]\nmetrics = ["accuracy", "ece"]\n')
    answer = command("check", reports / "erm", "--against", COMMITTED, "--rules", "rules.toml")
    assert answer.code == 0, answer
    assert "not compared: augmix-seed0" in answer.out
    assert command("check", reports / "noisy", "--against", COMMITTED, "--rules", "rules.toml").line.startswith(
        "robusteval: model 'noisy' is not in the baseline: name it with --map noisy=OLD, "
    )
    arguments = "--rules", "rules.toml", "--map", "noisy=erm-seed0"
    assert command("check", reports / "noisy", "--against", COMMITTED, *arguments).code == 1


def test_other_samples_are_refused(command, reports, place):
    Path("check.json").write_text("of an earlier check")
    files_ = "--junit", "junit.xml", "--json", "check.json"
    line = command("check", reports / "fewer", "--against", reports / "erm", *files_).line
    assert line.startswith("robusteval: not comparable: samples is 200 in ")
    assert "and 1000 in " in line
    found = json.loads(Path("check.json").read_text())
    assert (found["exit_code"], found["reason"]) == (2, line.removeprefix("robusteval: "))
    assert ElementTree.parse("junit.xml").getroot().get("errors") == "1"


def test_update_writes_a_baseline_that_is_found_by_name(command, reports, place):
    assert command("check", reports / "erm").line.startswith(
        "robusteval: there is no baseline (looked for suites/baselines/erm"
    )
    answer = command("check", reports / "erm", "--update")
    assert (answer.code, answer.err) == (0, "")
    assert "written: suites/baselines/erm.parquet (" in answer.out
    assert baseline.read(Path("suites/baselines/erm.parquet")).models == ["erm-seed0"]
    for against in ((), ("--against", "erm"), ("--against", "suites/baselines/erm.parquet")):
        assert command("check", reports / "erm", *against).code == 0
    assert command("check", reports / "noisy", "--against", "erm").code == 1
    command("check", reports / "noisy", "--against", "erm", "--update")
    assert command("check", "suites/baselines/erm.parquet", "--against", reports / "noisy").code == 0, (
        "a file is a side"
    )
    assert "is a folder" in command("check", reports / "noisy", "--against", reports / "erm/", "--update").line


def test_github(command, reports, place, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    Path("summary.md").write_text("# earlier\n")
    answer = command("check", reports / "noisy", "--against", reports / "erm", "--github")
    assert answer.code == 1
    errors = [
        line
        for line in answer.out.splitlines()
        if line.startswith("::error title=regressed%3A noisy%2C clean%2C accuracy::")
    ]
    assert len(errors) == 1
    assert "newly broken: " in errors[0]
    page = Path("summary.md").read_text()
    assert page.startswith("# earlier\n## robusteval check: regressed\n")
    refused = command("check", reports / "fewer", "--against", reports / "erm", "--github")
    assert refused.code == 2
    assert refused.out.startswith("::error title=robusteval check::not comparable: samples is 200")
    monkeypatch.delenv("GITHUB_STEP_SUMMARY")
    assert command("check", reports / "erm", "--against", reports / "erm", "--github").out.count("::") == 0


def copied(report: Path, place: Path) -> Path:
    return Path(shutil.copytree(report, place / "copy"))


def changed(report: Path, row: int, **values: object) -> None:
    metrics, facts = files.read_frame(report / "metrics.parquet")
    for column, value in values.items():
        metrics.loc[row, column] = value
    files.write_frame(report / "metrics.parquet", metrics, facts)


def test_damage_and_other_formats(command, reports, place):
    copy = copied(reports / "erm", place)
    sample = next((copy / "samples").iterdir())
    content = bytearray(sample.read_bytes())
    content[200:204] = b"oops"
    sample.write_bytes(content)
    assert f"{sample} is damaged" in command("check", copy, "--against", reports / "erm").line
    assert "is damaged" in command("check", reports / "erm", "--against", copy).line
    sample.unlink()
    assert "is missing" in command("check", copy, "--against", reports / "erm").line
    run = json.loads((copy / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps({**run, "format": 0}))
    assert "has report format 0, this robusteval writes 1" in command("check", copy, "--against", reports / "erm").line
    (place / "file.parquet").write_bytes(b"PAR1 and no more")
    assert "is damaged, or no baseline file" in command("check", reports / "erm", "--against", "file.parquet").line
    assert "there is no baseline (looked for " in command("check", reports / "erm", "--against", "nowhere").line
    assert "there is no such report" in command("check", "nowhere", "--against", reports / "erm").line
    assert "check a checkpoint --sequential" in command("check", ERM, "--against", reports / "erm").line


def test_nan_and_failed_views(command, reports, place):
    copy = copied(reports / "noisy", place)
    metrics = pd.read_parquet(copy / "metrics.parquet")
    at = metrics.index[(metrics["view"] == "clean") & (metrics["metric"] == "ece")][0]
    changed(copy, at, value=float("nan"))
    answer = command("check", copy, "--against", reports / "erm")
    assert answer.code == 2, "what is not comparable goes before what regressed"
    assert answer.err.splitlines() == ["robusteval: not comparable: noisy, clean, ece: ece is nan"]
    assert answer.out.splitlines()[-1].startswith("not comparable: ")
    assert re.search(r"\| regressed +\| noisy \| clean +\| accuracy \|", answer.out)
    fgsm = metrics.index[metrics["view"] == "fgsm(eps=2/255)"]
    changed(copy, at, value=0.1)
    for row in fgsm:
        changed(copy, row, error="out of memory")
    answer = command("check", copy, "--against", reports / "erm")
    assert answer.code == 2
    assert "not comparable: noisy, fgsm(eps=2/255), accuracy: the view failed: out of memory" in answer.err
    assert "no baseline without it" in command("check", copy, "--update").line
    assert not Path("suites").exists()


def test_flags_need_leave(command, reports, place):
    copy = copied(reports / "erm", place)
    metrics = pd.read_parquet(copy / "metrics.parquet")
    for row in metrics.index[metrics["view"] == "fgsm(eps=2/255)"]:
        changed(copy, row, grade="C", flags="zero-gradients")
    answer = command("check", copy, "--against", reports / "erm")
    assert answer.code == 3
    assert "grade C, which the rules do not allow; upper bound, potentially unreliable: zero-gradients" in answer.out
    (place / "rules.toml").write_text('grades = ["A", "B", "quick", "C"]\n')
    answer = command("check", copy, "--against", reports / "erm", "--rules", "rules.toml")
    assert answer.code == 0
    assert "upper bound, potentially unreliable: zero-gradients" in answer.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--map", "erm"], "map='erm': must be NEW=OLD, as in --map erm-new=erm"),
        (["--map", "a=b", "--map", "a=c"], "map='a=c': names 'a' twice"),
        (["--map", "nobody=erm-seed0"], "map='nobody': there is no such model"),
        (["--rules", "none.toml"], "rules='none.toml': there is no such file"),
        (["--update", "--sequential"], "update=True: writes a report that is there"),
        (["--json", "/proc/none/check.json"], "/proc/none/check.json cannot be written"),
    ],
)
def test_bad_options(command, reports, place, arguments, said):
    assert said in command("check", reports / "erm", "--against", reports / "erm", *arguments).line


def test_the_shipped_baseline():
    """`robusteval check reports/quick` compares with it."""
    shipped = baseline.read(ROOT / "suites/baselines/quick.parquet")
    committed = {(entry.model, entry.view): entry for entry in read_report(COMMITTED).entries}
    assert shipped.models == [f"{name}-seed{seed}" for name in ("erm", "mixup") for seed in range(3)]
    views = [probe.spec for probe, _ in suites.load("quick").probes]
    for model in shipped.models:
        entries = shipped.views(model)
        assert list(entries) == views
        known = committed[model, "clean"]
        assert entries["clean"].data == known.data
        assert entries["clean"].estimates["accuracy"] == known.estimates["accuracy"]
    assert (ROOT / "suites/baselines/quick.parquet").stat().st_size < 200_000
