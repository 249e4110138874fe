import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robusteval.core.errors import InputError, RecordError
from robusteval.gate.check import check
from robusteval.gate.pairs import counterparts, paired, read_side
from robusteval.gate.rules import Gate, Rules
from robusteval.gate.sides import read_report


def test_one_model_on_each_side_is_compared_whatever_the_names(only):
    pairs = paired(only("mixup-seed0"), only("erm-seed0"), Rules())
    assert {(pair.new.model, pair.old.model) for pair in pairs} == {("mixup-seed0", "erm-seed0")}
    assert [pair.new.view for pair in pairs] == [
        view for view in only("erm-seed0").views("erm-seed0") if view != "linearity"
    ]
    assert [pair.metrics for pair in pairs] == [("accuracy", "ece"), *[("accuracy",)] * 5]


def test_several_models_are_matched_by_name():
    assert counterparts(["b", "a"], ["a", "b", "c"], {}) == {"b": "b", "a": "a"}
    assert counterparts(["a", "new"], ["a", "b"], {"new": "b", "a": "b"}) == {"a": "b", "new": "b"}
    assert counterparts(["b"], ["a", "b"], {}) == {"b": "b"}


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ({}, "model 'net-2' is not in the baseline: name it with --map net-2=OLD, did you mean 'net-1'"),
        ({"net-3": "net-1"}, "map='net-3': there is no such model; did you mean 'net-2'"),
        ({"net-2": "net-7"}, "map='net-7': there is no such model; did you mean 'net-1'"),
    ],
)
def test_a_model_without_a_counterpart(mapping, said):
    with pytest.raises(InputError) as error:
        counterparts(["net-2", "other"], ["net-1", "other"], mapping)
    assert said in str(error.value)


def test_models_that_are_gone_are_named(only):
    found = check(only("erm-seed0"), only("erm-seed0", "mixup-seed0"))
    assert found.notes == (f"not compared: mixup-seed0 of {found.old}",)
    assert found.exit_code == 0


@pytest.fixture
def pair(make_side, make_predictions):
    return (
        make_side({"clean": make_predictions(seed=1), "fog@3": make_predictions(seed=2)}, name="new"),
        make_side({"clean": make_predictions(seed=3), "fog@3": make_predictions(seed=4)}, name="old"),
    )


def test_other_seed(pair):
    with pytest.raises(RecordError, match="not comparable: seed is 0 in new and 7 in old"):
        paired(pair[0], replace(pair[1], seed=7), Rules())


def test_other_data(pair, make_side, make_predictions):
    other = make_side({"clean": make_predictions(first=1000), "fog@3": make_predictions(first=1000)}, name="old")
    with pytest.raises(RecordError, match="not comparable: data digest is "):
        paired(pair[0], other, Rules())
    fewer = make_side({"clean": make_predictions(500), "fog@3": make_predictions(500)}, name="old")
    with pytest.raises(RecordError, match="not comparable: samples is 1000 in new and 500 in old"):
        paired(pair[0], fewer, Rules())


def test_other_terms(pair):
    """Gradients of another precision, stored images for generated ones: other numbers (TRUST R23)."""
    new, old = (
        replace(
            side, entries=tuple(replace(each, terms={"kind": "attack", "gradients": kind}) for each in side.entries)
        )
        for side, kind in zip(pair, ("float32", "bf16"), strict=True)
    )
    with pytest.raises(RecordError, match="not comparable: gradients is float32 in new and bf16 in old"):
        paired(new, old, Rules())


def test_other_ids_of_as_many_samples(pair):
    """The digest cannot tell them apart where a baseline was made by hand; the ids themselves can."""
    rows = pair[1].entries[0].read([])
    swapped = replace(rows, samples=rows.samples[::-1])
    other = replace(pair[1], entries=(replace(pair[1].entries[0], read=lambda _: swapped), pair[1].entries[1]))
    with pytest.raises(RecordError, match="net, clean: the two sides have other samples"):
        check(pair[0], other)


def test_other_views(pair, make_side, make_predictions):
    fewer = make_side({"clean": make_predictions()}, name="old")
    for sides in ((pair[0], fewer), (fewer, pair[0])):
        with pytest.raises(RecordError, match=r"not comparable: .*fog@3"):
            paired(*sides, Rules())
    clean = Rules(gates=(Gate(views=("clean",), metrics=("accuracy",)),))
    assert [each.new.view for each in paired(pair[0], fewer, clean)] == ["clean"], "what is not gated may differ"


def test_comparing_nothing_is_an_error(pair):
    with pytest.raises(InputError, match="the rules gate no number of new"):
        paired(*pair, Rules(gates=(Gate(views=("snow@*",), metrics=("accuracy",)),)))


def test_a_view_that_failed_is_not_comparable(pair):
    for side in (0, 1):
        broken = list(pair)
        entries = broken[side].entries
        broken[side] = replace(
            broken[side], entries=(entries[0], replace(entries[1], failure="no memory", estimates={}))
        )
        found = check(*broken)
        assert [row.verdict for row in found.rows[2:]] == ["not comparable"]
        assert "view failed: no memory" in found.rows[2].reason
        assert found.exit_code == 2


def test_a_curve_that_failed_is_one_row_and_hides_no_other(measured_curve, make_side, make_predictions):
    old = read_report(measured_curve)
    whole = next(iter(old.views("net").values()))
    new = replace(old, entries=(replace(whole, failure="no memory", estimates={}),))
    (row,) = check(new, old).rows
    assert (row.measured.view, row.verdict) == (whole.view, "not comparable")
    assert "no memory" in row.reason


def test_a_probe_without_accuracy_that_failed_on_both_sides_is_not_gated(pair):
    entries = [
        replace(side.entries[1], view="linearity", failure="no", estimates={}, terms={"kind": "linearity"})
        for side in pair
    ]
    sides = [replace(side, entries=(side.entries[0], entry)) for side, entry in zip(pair, entries, strict=True)]
    assert {row.measured.view for row in check(*sides).rows} == {"clean"}


def test_a_report_with_a_damaged_table(tmp_path, bundled):
    folder = tmp_path / "report"
    folder.mkdir()
    for name in ("run.json", "metrics.parquet", "cells.parquet"):
        shutil.copy(Path(bundled.name) / name, folder)
    assert len(read_side(folder).entries) == len(bundled.entries)
    content = bytearray((folder / "metrics.parquet").read_bytes())
    content[1000:1010] = b"0123456789"
    (folder / "metrics.parquet").write_bytes(content)
    with pytest.raises(RecordError, match=r"metrics.parquet is damaged"):
        read_report(folder)
    (folder / "run.json").write_text('{"format": 0}')
    with pytest.raises(RecordError, match="has report format 0, this robusteval writes 1; measure again with --out"):
        read_report(folder)


def test_each_radius_of_a_curve_is_gated(measured_curve):
    side = read_report(measured_curve)
    views = side.views("net")
    assert list(views) == ["pgd(eps=(4/255, 16/255), steps=2)", "pgd(eps=(4/255, 16/255), steps=2) at 4/255"]
    for entry in views.values():
        assert entry.read(["accuracy"]).correct.mean() == pytest.approx(entry.estimates["accuracy"].value)
    small, large = (np.sort(entry.read([]).correct.nonzero()[0]) for entry in reversed(views.values()))
    assert set(large) <= set(small)
    assert [row.measured.view for row in check(side, side).rows] == list(views)
