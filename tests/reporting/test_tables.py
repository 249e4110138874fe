import math
import re
from typing import Any

import pandas as pd
import pytest

from robusteval.attacks.flags import FLAGS
from robusteval.reporting import tables
from robusteval.results.schema import metric_frame

ATTACK = "pgd(eps=8/255, steps=10)"
SPECIAL = r"we&ird_100%#1 {a}|$b ~c^d\e<f>@g"


def row(model: str, view: str, kind: str, metric: str | None = "accuracy", **more: Any) -> dict[str, Any]:
    common = {"model": model, "data": "digits", "view": view, "kind": kind, "n": 1000}
    if metric is not None:
        common |= {"metric": metric, "value": 0.9, "low": 0.88, "high": 0.915}
    return {**common, **more}


def measured(model: str, corruptions: int = 1, **more: Any) -> list[dict[str, Any]]:
    return [
        row(model, "clean", "clean"),
        row(model, "clean", "clean", "ece", value=0.031, low=0.02, high=0.04),
        row(model, ATTACK, "attack", **{"value": 0.4, "low": 0.37, "high": 0.43, "grade": "quick", **more}),
        *(row(model, f"fog@{level + 1}", "corruption", value=0.8 - level / 100) for level in range(corruptions)),
        row(model, "linearity", "linearity", "gamma", value=1.234, low=1.1, high=1.3, n=100),
    ]


def frame(*rows: dict[str, Any]) -> pd.DataFrame:
    return metric_frame(list(rows))


def test_every_number_stands_with_the_larger_half_of_its_interval() -> None:
    shown = tables.table(frame(*measured("a"), *measured("b", value=0.5, low=0.5, high=0.6)))
    assert list(shown.columns) == ["clean", f"{ATTACK}, quick", "fog@1", "ece (%)", "gamma"]
    assert shown.loc["a"].tolist() == ["90.0 ±2.0", "40.0 ±3.0", "80.0 ±11.5", "3.1 ±1.1", "1.234 ±0.134"]
    assert shown.loc["b", f"{ATTACK}, quick"] == "50.0 ±10.0"


@pytest.mark.parametrize(
    ("corruptions", "columns", "mean"),
    [(1, 1, None), (2, 3, "79.5"), (tables.MOST_CORRUPTIONS, 7, "77.5"), (tables.MOST_CORRUPTIONS + 1, 1, "77.0")],
)
def test_many_corruptions_are_shown_as_their_mean(corruptions: int, columns: int, mean: str | None) -> None:
    shown = tables.table(frame(*measured("a", corruptions)))
    names = [name for name in shown.columns if "fog" in name or "corrupted" in name]
    assert len(names) == columns
    if mean is not None:
        assert names[-1] == f"mean of {corruptions} corrupted"
        assert shown.loc["a", names[-1]] == mean


def test_a_curve_has_a_column_for_each_radius_and_the_median_its_own() -> None:
    view = "pgd(eps=(1/255, 2/255), steps=5)"
    common = {"view": view, "kind": "attack", "grade": "quick"}
    points = [
        row(model, metric="accuracy", value=value, eps_text=eps, **common)
        for model in ("a", "b")
        for eps, value in (("1/255", 0.7), ("2/255", 0.6))
    ]
    medians = [row("a", metric="median-distance", value=0.0125, low=0.012, high=0.0135, **common)]
    medians += [row("b", metric="median-distance", value=math.inf, low=0.1, high=math.inf, **common)]
    found = frame(*points, *medians)
    shown = tables.table(found)
    names = ["pgd(steps=5) at 1/255, quick", "pgd(steps=5) at 2/255, quick", "median distance, pgd(steps=5)"]
    assert list(shown.columns) == names
    assert shown.loc["a"].tolist() == ["70.0 ±21.5", "60.0 ±31.5", "0.0125 ±0.0010"]
    assert shown.loc["b"].iloc[2] == "inf"
    assert any("Median distance: the radius" in line for line in tables.notes(found))


def test_a_flag_marks_the_number_and_is_explained() -> None:
    found = frame(*measured("a", flags="zero-gradients", grade="C"), *measured("b"))
    assert tables.table(found).loc["a", f"{ATTACK}, quick"] == "40.0 ±3.0 !"
    assert f"! a, {ATTACK}: upper bound, potentially unreliable (zero-gradients)." in tables.notes(found)
    assert f"zero-gradients: {FLAGS['zero-gradients'].says}" in tables.notes(found)


@pytest.mark.parametrize(("grade", "said"), [("A", ", grade A"), ("B", ", grade B"), ("quick", ", quick"), ("C", "")])
def test_the_grade_stands_in_the_head(grade: str, said: str) -> None:
    found = frame(*measured("a", grade=grade, flags="unstable" if grade == "C" else None))
    assert f"{ATTACK}{said}" in tables.table(found).columns
    assert any(note.startswith("Grade A: ") for note in tables.notes(found)) == (grade in ("A", "B"))


def test_failures_are_named_wherever_they_would_be_missed() -> None:
    views = [("clean", "clean"), (ATTACK, "attack"), ("fog@1", "corruption"), ("linearity", "linearity")]
    failed = [row("a", view, kind, None, error="NaN\nin two lines") for view, kind in views]
    found = frame(*failed, row("a", "fog@2", "corruption"), *measured("b", 2))
    shown = tables.table(found)
    assert shown.loc["a"].to_dict() == {
        "clean": "failed",
        f"{ATTACK}, quick": "failed",
        "fog@1": "failed",
        "fog@2": "90.0 ±2.0",
        "mean of 2 corrupted": "failed",
        "ece (%)": "failed",
        "gamma": "failed",
    }
    assert "failed: a, clean: NaN in two lines" in tables.notes(found)
    alone = tables.table(frame(*failed))
    assert alone.loc["a"].tolist() == ["failed"] * 5


def test_a_view_that_a_model_has_not_is_a_dash() -> None:
    shown = tables.table(frame(*measured("a", 2), *measured("b", 1)))
    assert shown.loc["b", ["fog@2", "mean of 2 corrupted"]].tolist() == ["-", "-"]


def test_no_column_without_its_view_and_a_word_where_clean_is_missing() -> None:
    found = frame(row("a", ATTACK, "attack", grade="quick"))
    assert list(tables.table(found).columns) == [f"{ATTACK}, quick"]
    assert any("Clean accuracy was not measured" in note for note in tables.notes(found))
    assert not any("ECE: top" in note or "gamma: local" in note for note in tables.notes(found))


def test_after_recalibration() -> None:
    after = {"value": 0.012, "low": 0.01, "high": 0.02}
    rows = [*measured("a"), row("a", "clean", "clean", "ece after temperature", **after)]
    rows += [row("a", "fog@1", "corruption", "ece after temperature", **after), *measured("b")]
    found = frame(*rows)
    shown = tables.table(found)
    names = [name for name in shown.columns if name.startswith("ece")]
    assert names == ["ece (%)", "ece after temperature (%)"]
    assert shown["ece after temperature (%)"].to_dict() == {"a": "1.2 ±0.8", "b": "-"}
    assert any(line.startswith("After temperature: each half of the samples") for line in tables.notes(found))
    for view, said in (
        ("calibration", "samples of train, not on those evaluated, and a network may have been trained on some"),
        ("calibration(split='validation')", "fitted on samples of validation, not on those evaluated."),
    ):
        lines = tables.notes(frame(*rows, row("a", view, "calibration")))
        assert any(line.startswith("After temperature: ") and said in line for line in lines)
        assert view not in tables.table(frame(*rows, row("a", view, "calibration"))).columns


def test_notes_say_data_and_sizes() -> None:
    first, *rest = tables.notes(frame(*measured("a")))
    assert first == f"Data: digits; samples: 1000 for clean, {ATTACK}, fog@1; 100 for linearity."
    assert any(note.startswith("quick: ") for note in rest)
    assert any("not the official files" in note for note in rest)


def test_markdown_has_equal_columns() -> None:
    found = frame(*measured(SPECIAL, 3), *measured("b", 3))
    text = tables.markdown(tables.table(found), tables.notes(found))
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 4
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {len(tables.table(found).columns) + 2}
    assert text.endswith("\n")


def test_latex_escapes_what_is_special() -> None:
    found = frame(*measured(SPECIAL, 2), row(SPECIAL, "x@1", "corruption", None, error="50% of\nit"))
    text = tables.latex(tables.table(found), tables.notes(found))
    body = [line for line in text.splitlines() if not line.startswith("%")]
    assert body[0] == r"\begin{tabular}{l" + "r" * len(tables.table(found).columns) + "}"
    assert body[-1] == r"\end{tabular}"
    for line in body:
        bare = re.sub(r"\\[&%$#_{}]", "", line)
        assert bare.count("{") == bare.count("}")
        assert not re.search(r"[#%_~^<>|±]", bare), line
    rows = [line for line in body if line.endswith(r"\\")]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in rows} == {len(tables.table(found).columns)}
    assert r"we\&ird\_100\%\#1 \{a\}\textbar{}\$b \textasciitilde{}c\textasciicircum{}d\textbackslash{}e" in text
    assert r"$\pm$" in text
    assert "@g" in text


def test_the_files_hold_the_same_table(tmp_path: Any) -> None:
    found = frame(*measured("a"), *measured("b"))
    shown = tables.write(tmp_path, found)
    read = pd.read_csv(tmp_path / "table.csv", index_col="model", dtype=str)
    pd.testing.assert_frame_equal(read, shown, check_dtype=False, check_index_type=False, check_column_type=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["table.csv", "table.md", "table.tex"]
    for name in ("table.md", "table.tex"):
        assert "40.0" in (tmp_path / name).read_text()
