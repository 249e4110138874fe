import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from robusteval.core.errors import InputError, RecordError
from robusteval.reporting.compare import Pool, compare
from robusteval.reporting.compare.grids import grids, long
from robusteval.reporting.compare.notes import notes

Make = Callable[..., Path]
PGD = "pgd(eps=8/255, steps=10)"
CURVE = "apgd(eps=(1/255, 2/255))"


def pool(*folders: Path) -> Pool:
    return Pool.read(list(folders))


def test_variants_are_rows_where_one_has_several_seeds(small: Path) -> None:
    found = compare(pool(small))
    assert [(row.name, len(row.models)) for row in found.rows] == [("erm", 3), ("new", 3)]
    assert [row.name for row in compare(pool(small), by="checkpoint").rows][:2] == ["erm-seed0", "erm-seed1"]
    assert [row.name for row in compare(pool(small), baseline="new").rows] == ["new", "erm"]


def test_single_checkpoints_are_rows_where_there_is_no_seed(make_report: Make, tmp_path: Path) -> None:
    folder = make_report(tmp_path / "r", {"a": ("erm", 0, 1.0), "b": (None, None, 2.0)})
    assert [row.name for row in compare(pool(folder)).rows] == ["a", "b"]
    assert [row.name for row in compare(pool(folder), by="variant").rows] == ["erm", "b"]
    assert grids(compare(pool(folder)))[0].head[:2] == ["checkpoint", "clean"]


def test_two_models_of_one_seed_are_no_seeds_of_one_variant(make_report: Make, tmp_path: Path) -> None:
    models = {
        "erm": (None, None, 1.0),
        "small-erm": ("erm", 0, 1.0),
        "large-erm": ("erm", 0, 2.0),
        "x": ("erm", 1, 1.0),
    }
    folder = make_report(tmp_path / "r", models)
    assert [row.name for row in pool(folder).rows("variant")] == ["erm", "small-erm", "large-erm", "x"]
    two = make_report(tmp_path / "s", {"erm": (None, None, 1.0), "a": ("erm", 0, 1.0), "b": ("erm", 1, 1.0)})
    assert [row.name for row in pool(two).rows()] == ["erm", "variant erm"], "no name stands for two rows"


def test_reports_are_pooled(make_report: Make, tmp_path: Path, small: Path) -> None:
    other = make_report(tmp_path / "r", {"fresh-seed0": ("fresh", 0, 2.0), "erm-seed0": ("erm", 0, 1.0)})
    assert [row.name for row in compare(pool(small, other)).rows] == ["erm", "new", "fresh"], "equal weights count once"
    retrained = make_report(tmp_path / "s", {"erm-seed0": ("erm", 0, 1.0)}, salt="again")
    names = [row.name for row in compare(pool(small, retrained)).rows]
    assert names == [f"erm ({small})", f"erm ({retrained})", "new"]
    assert f"erm-seed0 ({retrained})" in [row.name for row in compare(pool(small, retrained), by="checkpoint").rows]
    assert len(compare(pool(small, small)).rows) == 2


def test_the_best_and_those_that_are_not_significantly_worse(make_report: Make, tmp_path: Path) -> None:
    models = {"good": ("a", 0, 2.5), "alike": ("b", 0, 2.5), "bad": ("c", 0, 0.0)}
    found = compare(pool(make_report(tmp_path / "r", models, n=400)), ["clean", "ece", "gamma"])
    best = found.best["clean"]
    assert best in ("good", "alike")
    assert found.tied(({"good", "alike"} - {best}).pop() and (({"good", "alike"} - {best}).pop(), "clean"))
    assert not found.tied(("bad", "clean"))
    values = {row.name: found.figures[row.name, "gamma"].value for row in found.rows}
    assert found.best["gamma"] == min(values, key=values.__getitem__), "lower is better"


def test_tests_follow_the_number_of_seeds(make_report: Make, tmp_path: Path, small: Path) -> None:
    single = make_report(tmp_path / "r", {"one-seed0": ("one", 0, 2.0)})
    rows = long(compare(pool(small, single), ["clean", "ece", "nll", "gamma", "corruptions"], baseline="erm"))
    tests = rows.groupby("row")["test"].agg(lambda tests: set(tests.dropna()))
    assert tests["new"] == {"Welch over seeds"}
    assert tests["one"] == {"paired bootstrap"}
    found = compare(pool(small), ["clean", "corruptions", f"{PGD}:ece"], by="checkpoint", baseline="erm-seed0")
    kinds = long(found).query("row == 'new-seed0'").set_index("column")["test"].to_dict()
    assert kinds == {
        "clean": "exact McNemar",
        "mean of 2 corrupted": "paired bootstrap",
        f"ece, {PGD}": "paired bootstrap",
    }
    assert any("conditional on these checkpoints" in line for line in notes(found))
    assert not any("conditional on these checkpoints" in line for line in notes(compare(pool(small), baseline="erm")))


def test_a_model_does_not_differ_from_its_copy(make_report: Make, tmp_path: Path) -> None:
    folder = make_report(tmp_path / "r", {"a": ("erm", 0, 1.0), "b": ("mixup", 0, 1.0)})
    cells = pd.read_parquet(folder / "cells.parquet")
    for _, part in cells.groupby("view"):
        first, second = (folder / "samples" / f"{cell}.parquet" for cell in part["cell"])
        second.write_bytes(first.read_bytes())
    metrics = pd.read_parquet(folder / "metrics.parquet")
    half = len(metrics) // 2
    for name in ("value", "low", "high"):
        metrics[name] = np.tile(metrics[name].to_numpy()[:half], 2)
    metrics.to_parquet(folder / "metrics.parquet")
    rows = long(compare(pool(folder), baseline="a")).query("row == 'b'")
    assert rows["difference"].tolist() == [0.0] * len(rows)
    assert rows["p_holm"].tolist() == [1.0] * len(rows)
    assert rows["best"].all()
    assert not rows["tied"].any()


def test_after_temperature_agrees_with_the_engine(make_report: Make, tmp_path: Path) -> None:
    folder = make_report(tmp_path / "r", {"a": ("erm", 0, 1.0), "b": ("mixup", 0, 2.5)}, views=("clean",), n=300)
    metrics = pd.read_parquet(folder / "metrics.parquet")
    rows = metrics[metrics["metric"].eq("ece")].assign(metric="ece after temperature", value=0.05, low=0.0, high=0.1)
    pd.concat([metrics, rows]).to_parquet(folder / "metrics.parquet")
    found = compare(pool(folder), ["ece", "ece after temperature"], baseline="a")
    plain, after = (found.differences["b", name].difference for name in ("ece", "ece after temperature"))
    assert math.isfinite(after.p)
    assert after.value != plain.value


def test_radii_of_a_curve_are_tested_on_their_own_verdicts(make_report: Make, tmp_path: Path) -> None:
    models = {"a": ("erm", 0, 1.0), "b": ("mixup", 0, 2.5)}
    folder = make_report(tmp_path / "r", models, views=("clean", CURVE))
    rows = long(compare(pool(folder), ["apgd"], baseline="a")).set_index(["row", "column"])
    for column in ("apgd at 1/255", "apgd at 2/255"):
        values = rows.loc[[("b", column), ("a", column)], "value"].tolist()
        assert rows.loc[("b", column), "difference"] == pytest.approx(values[0] - values[1])
    assert rows.loc[("a", "apgd at 1/255"), "value"] > rows.loc[("a", "apgd at 2/255"), "value"]


def test_flagged_failed_and_missing_numbers_are_said(make_report: Make, tmp_path: Path) -> None:
    models = {"good": ("a", 0, 9.0), "fair": ("b", 0, 1.0), "broken": ("c", 0, 1.0)}
    flags, errors = {"good": "zero-gradients"}, {"broken": "logits: must be finite"}
    found = compare(pool(make_report(tmp_path / "r", models, flags=flags, errors=errors)), ["pgd"], baseline="fair")
    grid, differences = grids(found)
    texts = {line[0].text: line[-1].text for line in grid.body}
    assert texts["good"].endswith(" !")
    assert texts["broken"] == "failed"
    assert PGD not in found.best, "one number is left to rank, and the flagged one takes no part"
    assert {line[0].text: line[-1].text == "-" for line in differences.body} == {"good": False, "broken": True}
    said = " ".join(notes(found))
    assert "upper bound, potentially unreliable (zero-gradients)" in said
    assert f"failed: broken, {PGD}: logits: must be finite" in said


def test_intervals_and_notes(small: Path) -> None:
    found = compare(pool(small))
    figure = found.figures["erm", "clean"]
    half = 4.302653 * np.std(figure.values, ddof=1) / math.sqrt(3)
    assert (figure.low, figure.high) == pytest.approx((figure.value - half, figure.value + half), rel=1e-6)
    text = grids(found, intervals=True)[0].body[0][2].text
    assert (
        text == f"{100 * figure.value:.1f} ±{100 * figure.spread:.1f} [{100 * figure.low:.1f}, {100 * figure.high:.1f}]"
    )
    said = " ".join(notes(found, True))
    for part in ("digits, 120 samples", "mean ± standard deviation", "Not in the record: FGSM, AutoAttack", "quick:"):
        assert part in said
    assert "15 of its corruptions" not in said
    assert "is not the score of the set, which is over all 75" in said


def refused(*folders: Path, columns: tuple[str, ...] = ()) -> str:
    with pytest.raises(RecordError) as error:
        compare(pool(*folders), columns)
    return str(error.value)


def test_what_is_not_comparable_is_refused(make_report: Make, tmp_path: Path, small: Path) -> None:
    other: dict[str, tuple[str | None, int | None, float]] = {"x": ("x", 0, 1.0)}
    views = ("clean", PGD, "fog@3", "contrast@3", "linearity")
    cases = {
        "data is digits in": {"data": "blobs", "subset": "0" * 64},
        "data digest is ffffffffffffffff in": {"subset": "0" * 64},
        "samples is 120 in": {"subset": "0" * 64, "n": 60},
        "seed is 0 in": {"seed": 1},
        "gradients is float32 in": {"numerics": {"gradients": "bf16"}},
        "eps is 8/255 in": {"views": ("clean", "pgd(eps=4/255, steps=10)", *views[2:])},
        "suite is tiny in": {"views": views[:1], "suite": {"name": "large"}},
        "origin is generated in": {"views": (*views[:2], "official:fog@3", "official:contrast@3", views[4])},
    }
    for place, (said, more) in enumerate(cases.items()):
        folder = make_report(tmp_path / str(place), other, **more)
        line = refused(small, folder)
        assert line.startswith(f"not comparable: {said} {small}")
        assert str(folder) in line
    assert len(compare(pool(small, tmp_path / "5"), ["clean", "ece"]).rows) == 3, "columns that agree may be compared"


def test_damaged_records_are_refused(make_report: Make, tmp_path: Path) -> None:
    models = {"a": ("erm", 0, 1.0), "b": ("mixup", 0, 1.0)}
    folder = make_report(tmp_path / "nan", models)
    metrics = pd.read_parquet(folder / "metrics.parquet")
    metrics.loc[metrics["metric"].eq("ece") & metrics["model"].eq("b"), "value"] = np.nan
    metrics.to_parquet(folder / "metrics.parquet")
    assert "the record has NaN for ece of b, view clean" in refused(folder)
    assert len(compare(pool(folder), ["clean"]).rows) == 2, "what is not shown is not needed"

    folder = make_report(tmp_path / "cut", models)
    cell = folder / "samples" / f"{pd.read_parquet(folder / 'cells.parquet')['cell'][0]}.parquet"
    whole = cell.read_bytes()
    cell.write_bytes(whole[: len(whole) // 2])
    assert f"{cell} is damaged" in refused(folder)
    frame = pd.read_parquet(make_report(tmp_path / "cut", models) / "samples" / cell.name)
    for broken, said in (
        (frame[:-1], "are not those of the other models"),
        (frame.assign(nll=np.nan), "hold NaN in nll"),
    ):
        broken.to_parquet(cell)
        assert said in refused(folder)
    cell.unlink()
    assert "is missing: its run did not end" in refused(folder)


def test_other_formats_and_names_are_refused(make_report: Make, tmp_path: Path, small: Path) -> None:
    folder = make_report(tmp_path / "old", {"a": ("erm", 0, 1.0)})
    run = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**run, "format": 0}))
    with pytest.raises(RecordError, match="has report format 0, this robusteval writes 1"):
        pool(folder)
    with pytest.raises(InputError, match="baseline='ermm': no row of the table; did you mean 'erm'"):
        compare(pool(small), baseline="ermm")
    with pytest.raises(InputError, match="must name at least one folder"):
        pool()
