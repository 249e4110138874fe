"""The sequential mode: when it looks, what it counts, and that it measures no more than it needs."""

import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from robusteval.cli import main
from robusteval.core.errors import InputError, RecordError
from robusteval.core.paired import discordant_difference
from robusteval.core.types import Estimate
from robusteval.data.dataset import Split
from robusteval.engine import processes
from robusteval.engine.sources import DataSource, Stretch
from robusteval.gate import spending
from robusteval.gate.check import Check, check
from robusteval.gate.parts import joined, taken, together
from robusteval.gate.rules import Gate, Rules
from robusteval.gate.sequential import sequential
from robusteval.gate.sides import Entry, Rows, Side, read_report, thin_predictions
from robusteval.gate.spending import Look, looks, until_certain
from robusteval.gate.verdict import Measured, Row

ROOT = Path(__file__).parents[2]
CHECKPOINTS, REPORT = ROOT / "checkpoints/fashion-mnist", ROOT / "reports/fashion-mnist"
VIEWS = ("clean", "contrast@3")
RULES = Rules(gates=(Gate(views=VIEWS, metrics=("accuracy",)), Gate(views=("clean",), metrics=("ece",))))


@pytest.mark.parametrize("n", [1, 499, 999, 1000, 1001, 10_000, 12_345])
def test_the_whole_level_is_spent_and_no_more(n: int) -> None:
    planned = looks("clean", n)
    assert sum(look.share for look in planned) == pytest.approx(1)
    assert [look.stop for look in planned] == list(spending.sizes(n))
    assert [look.start for look in planned[1:]] == [look.stop for look in planned[:-1]]
    assert [look.last for look in planned] == [False] * (len(planned) - 1) + [True]
    assert planned[0].stop >= min(n, spending.FIRST)


def test_a_look_is_judged_by_the_level_that_it_spends() -> None:
    assert [look.rules(Rules(level=0.08)).level for look in looks("clean", 2000)] == [0.02, 0.02, 0.04]


def row(view: str, broken: int, right: int, look: Look, level: float) -> Measured:
    found = discordant_difference(broken, right, look.stop, 1 - level)
    numbers = {"difference": found.value, "low": found.low, "high": found.high, "p": found.p}
    return Measured("net", view, "accuracy", look.stop, error=0.01, same=broken + right == 0, **numbers)


def watched(counts: Mapping[str, Sequence[tuple[int, int]]], n: int = 4000) -> tuple[list[Row], list[tuple[str, int]]]:
    """The verdicts on views that break and mend so many samples at each look, and the looks that were made."""
    made = list[tuple[str, int]]()

    def measure(due: Sequence[Look]) -> Mapping[str, Sequence[Measured]]:
        made.extend((look.view, look.stop) for look in due)
        places = {size: place for place, size in enumerate(spending.sizes(n))}
        level = Rules().level
        return {
            look.view: [row(look.view, *counts[look.view][places[look.stop]], look, level * look.share)] for look in due
        }

    return until_certain(dict.fromkeys(counts, n), measure, Rules()), made


def test_a_certain_view_is_not_measured_again() -> None:
    rows, made = watched({"worse": [(60, 0)], "open": [(9, 9), (20, 9), (34, 18), (70, 40)], "fine": [(0, 0), (0, 0)]})
    assert {each.measured.view: (each.verdict, each.measured.n) for each in rows} == {
        "worse": ("regressed", 500),
        "open": ("cannot tell", 4000),
        "fine": ("ok", 1000),
    }
    assert made == [
        *(("worse", 500), ("open", 500), ("fine", 500)),
        *(("open", 1000), ("fine", 1000)),
        *(("open", 2000), ("open", 4000)),
    ]


def test_the_p_value_is_the_smallest_of_all_looks_over_its_share() -> None:
    counts = [(12, 2), (14, 8), (20, 18), (30, 30)]
    rows, _ = watched({"clean": counts, "other": [(30, 30)] * 4})
    plain = [discordant_difference(*each, n).p for each, n in zip(counts, spending.sizes(4000), strict=True)]
    assert rows[0].measured.p == pytest.approx(plain[0] * 8)
    assert plain[0] * 8 < min(plain[1] * 8, plain[2] * 4, plain[3] * 2)


def test_that_no_sample_has_differed_yet_is_no_proof() -> None:
    tight = Rules(gates=(Gate(metrics=("accuracy",), margin=0.0),))

    def measure(due: Sequence[Look]) -> Mapping[str, Sequence[Measured]]:
        return {look.view: [replace(row(look.view, 0, 0, look, 0.05), margin=0.0)] for look in due}

    (found,) = until_certain({"clean": 1000}, measure, tight)
    assert (found.verdict, found.measured.n) == ("ok", 1000)


def test_what_cannot_be_compared_is_not_looked_at_again() -> None:
    made = list[int]()

    def measure(due: Sequence[Look]) -> Mapping[str, Sequence[Measured]]:
        made.extend(look.stop for look in due)
        return {"clean": [Measured("net", "clean", "accuracy", due[0].stop, problem="the view failed")]}

    (found,) = until_certain({"clean": 10_000}, measure, Rules())
    assert (found.verdict, made) == ("not comparable", [625])


def split(n: int) -> Split:
    return Split.of(torch.arange(n).to(torch.uint8)[:, None, None, None], torch.arange(n) * 10 // n)


def test_parts_are_disjoint_whole_and_in_random_order() -> None:
    whole = split(200)
    parts = [Stretch(160, start, stop).taken(whole) for start, stop in ((0, 40), (40, 80), (80, 160))]
    ids = torch.cat([part.ids for part in parts])
    assert sorted(ids.tolist()) == list(range(160))
    assert all(torch.equal(part.images.flatten(), part.ids.to(torch.uint8)) for part in parts)
    assert len(parts[0].labels.unique()) == 8, "the first part of a sorted data set has every class"
    other = Stretch(160, 0, 40, seed=1).taken(whole)
    assert not torch.equal(other.ids, parts[0].ids)


def test_a_source_loads_its_part_and_says_so() -> None:
    source = DataSource("memory", split(200), stretch=Stretch(160, 40, 80))
    assert torch.equal(source.load().ids, Stretch(160, 40, 80).taken(split(200)).ids)
    assert source.subset(40) == "memory, 40 of the first 160 in random order, from 40 on"
    assert DataSource("memory", split(200)).subset(40) == "memory, first 40"


def rows_of(ids: Sequence[int]) -> Rows:
    """Rows that can be told apart by their ids."""
    samples = np.array(ids)
    correct = samples % 3 > 0
    return Rows(
        samples,
        correct,
        thin_predictions(samples, correct, samples / 100, samples / 10),
        {"gamma": samples.astype(float)},
    )


def assert_same(one: Rows, other: Rows) -> None:
    assert np.array_equal(one.samples, other.samples)
    assert np.array_equal(one.correct, other.correct)
    assert np.array_equal(one.predictions.confidence, other.predictions.confidence)
    assert np.array_equal(one.predictions.samples, other.predictions.samples)
    assert one.predictions.logits is None
    assert np.array_equal(one.columns["gamma"], other.columns["gamma"])


def test_rows_of_parts_are_joined_in_the_order_of_their_ids() -> None:
    assert_same(joined([rows_of([5, 9]), rows_of([2, 7])]), rows_of([2, 5, 7, 9]))
    assert_same(taken(rows_of([2, 5, 7, 9]), np.array([3, 0])), rows_of([9, 2]))


def entry(ids: Sequence[int], value: float = 0.5, **changes: object) -> Entry:
    known = {"accuracy": Estimate(value, value - 0.1, value + 0.1)}
    return replace(Entry("net", "clean", len(ids), "digest", known, lambda _: rows_of(ids)), **changes)


def test_parts_and_their_share_of_the_baseline() -> None:
    parts = [entry([8, 3], 0.4, flags="tiny", grade="quick"), entry([6, 1, 5], 0.9, flags="tiny, rising", grade="C")]
    new, old = together(parts, entry(range(10), model="before"), ["accuracy"])
    assert_same(new.read(["accuracy"]), rows_of([1, 3, 5, 6, 8]))
    assert_same(old.read(["accuracy"]), rows_of([1, 3, 5, 6, 8]))
    assert (new.n, old.n, new.model, old.model) == (5, 5, "net", "before")
    assert (new.grade, new.flags) == ("C", "tiny, rising")
    assert new.estimates["accuracy"].value == pytest.approx(0.7)
    assert new.estimates["accuracy"].low == pytest.approx(0.7 - 0.1 * np.hypot(0.4, 0.6))


def test_a_part_that_failed_fails_the_view() -> None:
    def unread(_: Sequence[str]) -> Rows:
        raise AssertionError("a failed view has no rows")

    new, _ = together([entry([1]), entry([2], failure="boom", read=unread)], entry(range(3)), ["accuracy"])
    assert new.failure == "boom"


@pytest.fixture(scope="module")
def baseline() -> Side:
    """Of the committed report, the first of its models."""
    side = read_report(REPORT)
    return replace(side, entries=tuple(entry for entry in side.entries if entry.model == "erm-seed0"))


@pytest.fixture(autouse=True)
def _one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "default_workers", lambda _: 1)


@pytest.fixture(scope="module")
def found(baseline: Side, tmp_path_factory: pytest.TempPathFactory) -> tuple[Check, Path]:
    """The checkpoint of mixup against that of erm, and the folder with what was measured."""
    folder = tmp_path_factory.mktemp("grown") / "parts"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "default_workers", lambda _: 1)
        return sequential(CHECKPOINTS / "mixup-seed0.safetensors", baseline, RULES, out=folder), folder


def test_verdicts_come_as_soon_as_they_are_certain(found: tuple[Check, Path], baseline: Side) -> None:
    verdicts = {(row.measured.view, row.measured.metric): (row.verdict, row.measured.n) for row in found[0].rows}
    assert verdicts == {
        ("clean", "accuracy"): ("cannot tell", 1000),
        ("clean", "ece"): ("regressed", 500),
        ("contrast@3", "accuracy"): ("improved", 500),
    }
    assert found[0].exit_code == 1
    assert sorted(path.name for path in found[1].iterdir()) == ["0-500-of-1000", "500-1000-of-1000"]
    assert set(read_report(found[1] / "0-500-of-1000").views("mixup-seed0")) == set(VIEWS)
    assert set(read_report(found[1] / "500-1000-of-1000").views("mixup-seed0")) == {"clean"}


def test_all_samples_make_the_numbers_of_the_fixed_mode(found: tuple[Check, Path], baseline: Side) -> None:
    side = read_report(REPORT)
    whole = replace(side, entries=tuple(entry for entry in side.entries if entry.model == "mixup-seed0"))
    rules = Rules(gates=(Gate(views=("clean",), metrics=("accuracy",)),))
    (fixed,), step = check(whole, baseline, rules).rows, found[0].rows[0]
    assert step.measured.view == "clean"
    assert (step.measured.difference, step.measured.baseline) == (
        pytest.approx(fixed.measured.difference, abs=0.002),  # another machine may have rounded otherwise
        pytest.approx(fixed.measured.baseline),
    )
    assert step.measured.high - step.measured.low > fixed.measured.high - fixed.measured.low


def test_the_same_command_again_measures_nothing(
    found: tuple[Check, Path], baseline: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {file: file.stat().st_mtime_ns for file in found[1].rglob("samples/*")}
    again = sequential(CHECKPOINTS / "mixup-seed0.safetensors", baseline, RULES, out=found[1])
    assert again == found[0]
    assert {file: file.stat().st_mtime_ns for file in found[1].rglob("samples/*")} == before


def test_the_same_checkpoint_is_in_order_and_soon(baseline: Side) -> None:
    rules = Rules(gates=(Gate(views=("clean",), metrics=("accuracy", "ece")),))
    result = sequential(CHECKPOINTS / "erm-seed0.safetensors", baseline, rules)
    assert [(row.verdict, row.measured.n) for row in result.rows] == [("ok", 500)] * 2


def refused(call: Callable[[], object], kind: type[Exception]) -> str:
    with pytest.raises(kind) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_bad_input_is_answered_in_one_line(baseline: Side, tmp_path: Path) -> None:
    own, rules = CHECKPOINTS / "erm-seed0.safetensors", Rules(gates=(Gate(views=("clean",), metrics=("accuracy",)),))
    others = replace(baseline, entries=tuple(replace(entry, data="0" * 64) for entry in baseline.entries))
    assert "not comparable" in refused(lambda: sequential(own, others, rules), RecordError)
    bent = replace(baseline, entries=tuple(replace(each, terms={"versions": "clean 9"}) for each in baseline.entries))
    assert "not comparable: versions is clean 1" in refused(lambda: sequential(own, bent, rules), RecordError)
    nothing = Rules(gates=(Gate(views=("snow@9",), metrics=("accuracy",)),))
    assert "gate no number" in refused(lambda: sequential(own, baseline, nothing), InputError)
    two = replace(baseline, entries=(*baseline.entries, replace(baseline.entries[0], model="other")))
    stranger = tmp_path / "stranger.safetensors"
    shutil.copy(own, stranger)
    assert "--map stranger=OLD" in refused(lambda: sequential(stranger, two, rules), InputError)


def test_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rules.toml").write_text('gates = [{views = ["clean"], metrics = ["accuracy"]}]')
    checkpoint = CHECKPOINTS / "erm-seed0.safetensors"
    arguments = ["check", checkpoint, "--against", REPORT, "--rules", "rules.toml", "--sequential"]
    monkeypatch.setattr(sys, "argv", ["robusteval", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr()
    assert end.value.code == 0, said
    assert re.search(r"\| ok +\| erm-seed0 +\| clean +\| accuracy +\| +500 \|", said.out), said.out
