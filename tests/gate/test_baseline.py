from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from robusteval.core.errors import InputError, RecordError
from robusteval.gate import baseline
from robusteval.gate.check import check
from robusteval.gate.sides import THIN, halved
from robusteval.metrics import METRICS
from robusteval.results import files


def test_what_is_written_comes_back(only, tmp_path):
    side = only("erm-seed0")
    path = tmp_path / "deep" / "erm.parquet"
    assert baseline.write(path, side) == path.stat().st_size
    back = baseline.read(path)
    assert (back.seed, back.suite, back.halved, back.models) == (side.seed, side.suite, True, side.models)
    for one, other in zip(side.entries, back.entries, strict=True):
        assert replace(one, read=None) == replace(other, read=None)
        mine, yours = one.read(["accuracy"]), other.read(["accuracy"])
        assert np.array_equal(mine.samples, yours.samples)
        if one.view == "linearity":
            assert yours.correct is None
            continue
        thin = halved(mine)
        assert np.array_equal(mine.correct, yours.correct)
        assert np.array_equal(thin.predictions.confidence, yours.predictions.confidence)
        assert np.array_equal(thin.predictions.nll, yours.predictions.nll)
        assert np.allclose(mine.predictions.confidence, yours.predictions.confidence, atol=2**-11)
        assert np.allclose(mine.predictions.nll, yours.predictions.nll, rtol=2**-10, atol=1e-7)


def test_equal_sides_give_equal_bytes(only, tmp_path):
    for name in ("one", "two"):
        baseline.write(tmp_path / name, only("erm-seed0"))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_ten_thousand_samples_of_twenty_views_take_less_than_a_megabyte(make_side, make_predictions, tmp_path):
    views = {f"fog@{seed}": make_predictions(10_000, right=0.3 + 0.03 * seed, seed=seed) for seed in range(20)}
    side = make_side(views)
    scattered = np.sort(np.random.default_rng(0).choice(10**6, 10_000, replace=False))
    rows = [replace(entry.read([]), samples=scattered) for entry in side.entries]
    entries = [
        replace(entry, read=lambda _, found=found: found) for entry, found in zip(side.entries, rows, strict=True)
    ]
    assert baseline.write(tmp_path / "large", side) < 0.85e6
    assert baseline.write(tmp_path / "scattered", replace(side, entries=tuple(entries))) < 1e6
    assert np.array_equal(baseline.read(tmp_path / "scattered").entries[3].read([]).samples, scattered)


@pytest.mark.parametrize("name", THIN)
def test_correct_confidence_and_nll_are_enough_for_the_metrics_that_say_so(make_predictions, make_side, name):
    rows = make_side({"clean": make_predictions()}).entries[0].read([])
    assert METRICS.parse(name)(halved(rows).predictions) == pytest.approx(
        METRICS.parse(name)(rows.predictions), abs=2e-3
    )


def test_rounding_does_not_change_a_verdict(only, tmp_path):
    """ECE of the bundled models, from full precision and from float16: the same to a tenth of a thousandth."""
    models = ("erm-seed0", "erm-seed1", "mixup-seed0")
    baseline.write(tmp_path / "file", only(*models))
    mapping = {"erm-seed0": "erm-seed1", "erm-seed1": "mixup-seed0", "mixup-seed0": "erm-seed0"}
    full, thin = (
        check(only(*models), side, mapping=mapping).rows for side in (only(*models), baseline.read(tmp_path / "file"))
    )
    assert [row.verdict for row in full] == [row.verdict for row in thin]
    for one, other in zip(full, thin, strict=True):
        assert one.measured.newly_broken == other.measured.newly_broken
        assert one.measured.difference == pytest.approx(other.measured.difference, abs=2e-4)
        assert one.measured.high == pytest.approx(other.measured.high, abs=1e-3)


def read_or_none(path):
    try:
        return baseline.read(path)
    except RecordError:
        return None


def test_a_bit_that_fell_over_is_seen(only, tmp_path):
    """Whatever byte is hit, the file is refused, or what it says is unchanged."""
    side = only("erm-seed0")
    side = replace(side, entries=side.entries[:2])
    path = tmp_path / "file"
    baseline.write(path, side)
    content = path.read_bytes()
    refused = 0
    for place in [*range(0, len(content), 97), *range(len(content) - 60, len(content))]:
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :])
        found = read_or_none(path)
        refused += found is None
        for one, other in zip(side.entries, found.entries if found else side.entries, strict=True):
            assert replace(one, read=None) == replace(other, read=None)
            assert np.array_equal(one.read(["accuracy"]).correct, other.read(["accuracy"]).correct)
    assert refused > 50


def test_a_file_that_ends_too_early(only, tmp_path):
    baseline.write(tmp_path / "file", only("erm-seed0"))
    whole = (tmp_path / "file").read_bytes()
    for size in (0, 3, len(whole) // 2, len(whole) - 1):
        (tmp_path / "file").write_bytes(whole[:size])
        with pytest.raises(RecordError, match="is damaged, or no baseline file"):
            baseline.read(tmp_path / "file")


def test_damage_that_makes_a_type_of_no_kind(only, tmp_path, monkeypatch):
    """Arrow has an error of its own where a flipped bit turns a type into one that it does not know."""
    baseline.write(tmp_path / "file", only("erm-seed0"))

    def fails(*_, **__):
        raise pa.ArrowNotImplementedError("Integers with more than 64 bits not implemented")

    monkeypatch.setattr("pyarrow.parquet.read_table", fails)
    with pytest.raises(RecordError, match="is damaged"):
        baseline.read(tmp_path / "file")


def test_an_exchanged_cell_is_seen(only, tmp_path):
    """A file that is whole as Parquet, with another content than was written."""
    baseline.write(tmp_path / "file", only("erm-seed0"))
    frame, facts = files.read_frame(tmp_path / "file")
    frame.loc[0, "correct"] = frame.loc[1, "correct"]
    files.write_frame(tmp_path / "file", frame, facts)
    with pytest.raises(RecordError, match="its digest is not that of its content"):
        baseline.read(tmp_path / "file")


def test_another_format(only, tmp_path, monkeypatch):
    monkeypatch.setattr(baseline, "FORMAT", 0)
    baseline.write(tmp_path / "file", only("erm-seed0"))
    monkeypatch.undo()
    with pytest.raises(RecordError, match="has baseline format 0, this robusteval reads 1; write it again with"):
        baseline.read(tmp_path / "file")


def test_another_parquet_file_is_no_baseline(tmp_path, bundled):
    with pytest.raises(RecordError, match="is no baseline file"):
        baseline.read(next((Path(bundled.name) / "samples").iterdir()))
    with pytest.raises(RecordError, match="there is no such baseline"):
        baseline.read(tmp_path / "none")


def test_what_is_not_whole_is_no_baseline(only, tmp_path):
    side = only("erm-seed0")
    broken = replace(side.entries[0], failure="out of memory", estimates={})
    with pytest.raises(InputError, match=r"erm-seed0, clean failed \(out of memory\)"):
        baseline.write(tmp_path / "file", replace(side, entries=(broken,)))
    lost = {"ece": side.entries[0].estimates["ece"]._replace(value=float("nan"))}
    with pytest.raises(InputError, match="ece of erm-seed0, clean is nan"):
        baseline.write(tmp_path / "file", replace(side, entries=(replace(side.entries[0], estimates=lost),)))
    assert not (tmp_path / "file").exists()
