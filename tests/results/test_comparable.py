import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from robusteval.core.errors import RecordError
from robusteval.results.comparable import MISSING, TERM_COLUMNS, Terms, mismatches, require_comparable

ROOT = Path(__file__).parents[2]
REPORT = ROOT / "reports" / "fashion-mnist"
PGD = "pgd(eps=8/255, steps=10)"


def terms(name: str = "a", *views: str, suite: str = "quick", models: tuple[str, ...] = ("net",), **more: Any) -> Terms:
    """Cells that agree in everything, but for what is named."""
    common = {"data": "digits", "n": 100, "subset": "f" * 64, "seed": 0, "origin": None, "gradients": "float32"}
    kinds = {"clean": "clean", PGD: "attack"}
    rows = [
        {**common, "model": model, "view": view, "kind": kinds.get(view, "corruption"), "versions": None, **more}
        for model in models
        for view in views or ("clean", PGD, "fog@3")
    ]
    return Terms(name, suite, pd.DataFrame(rows, columns=list(TERM_COLUMNS)))


def only(*records: Terms, views: tuple[str, ...] | None = None) -> tuple[str, str, str, str]:
    (found,) = mismatches(records, views)
    return tuple(found)  # type: ignore[return-value]


def test_equal_terms_are_comparable() -> None:
    assert mismatches([terms("a", models=("x", "y")), terms("b"), terms("c", suite="other")]) == []
    require_comparable([terms("a")])
    assert mismatches([terms("a"), terms("b", data="digits(root='elsewhere')")]) == [], "the digest decides"


@pytest.mark.parametrize(
    ("key", "more", "first", "second"),
    [
        ("data", {"data": "blobs", "subset": "0" * 64}, "digits", "blobs"),
        ("data digest", {"subset": "0" * 64}, "f" * 16, "0" * 16),
        ("samples", {"subset": "0" * 64, "n": 50}, "100", "50"),
        ("seed", {"seed": 1}, "0", "1"),
    ],
)
def test_what_concerns_every_view_is_told_once(key: str, more: dict[str, Any], first: str, second: str) -> None:
    sentence = f"{key} is {first} in a and {second} in b, view clean"
    assert only(terms("a"), terms("b", **more)) == (key, first, second, sentence)


def test_models_of_one_record_must_agree_too() -> None:
    two = pd.concat([terms("a").cells, terms("a", models=("other",), subset="0" * 64, data="blobs").cells])
    found = only(Terms("a", "quick", two))
    assert found == ("data", "digits", "blobs", "data is digits in net of a and blobs in other of a, view clean")


def test_official_and_generated_images_are_kept_apart() -> None:
    stored = terms("b", "official:fog@3", origin="official")
    assert only(terms("a", "fog@3"), stored, views=("fog@3",))[:3] == ("origin", "generated", "stored")
    other = terms("c", "official:fog@3", origin="generated")
    assert only(stored, other)[:3] == ("origin", "official", "generated")


def test_gradients_and_versions_matter_where_they_are_used() -> None:
    assert only(terms("a"), terms("b", gradients="bf16")) == (
        "gradients",
        "float32",
        "bf16",
        f"gradients is float32 in a and bf16 in b, view {PGD}",
    )
    assert mismatches([terms("a", "clean", "fog@3"), terms("b", "clean", "fog@3", gradients="bf16")]) == []
    old, new = terms("a", "clean", versions="clean 1"), terms("b", "clean", versions="clean 2")
    assert only(old, new)[0] == "versions"
    assert mismatches([old, terms("c", "clean")]) == [], "an older record does not say"


@pytest.mark.parametrize(
    ("other", "key", "values"),
    [
        ("pgd(eps=4/255, steps=10)", "eps", ("8/255", "4/255")),
        ("pgd(eps=4/255, steps=50)", "eps", ("8/255", "4/255")),
        ("pgd(eps=8/255, steps=50)", "steps", ("10", "50")),
        ("pgd(eps=8/255)", "steps", ("10", "its default")),
        ("fgsm(eps=8/255)", "view", (PGD, MISSING)),
    ],
)
def test_a_view_that_one_side_lacks(other: str, key: str, values: tuple[str, str]) -> None:
    found = mismatches([terms("a", "clean", PGD), terms("b", "clean", other)])
    assert found[0][:3] == (key, *values)
    back = mismatches([terms("b", "clean", other), terms("a", "clean", PGD)])
    assert values[::-1] in [each[1:3] for each in back if each.key == key]
    assert mismatches([terms("a", "clean", PGD), terms("b", "clean", other)], ["clean"]) == []


def test_other_suites_and_severities() -> None:
    assert only(terms("a", "clean", PGD), terms("b", "clean", suite="standard"))[:3] == ("suite", "quick", "standard")
    assert mismatches([terms("a", "fog@3"), terms("b", "fog@5")])[0][:3] == ("severity", "3", "5")


def test_the_refusal_is_one_sentence() -> None:
    with pytest.raises(RecordError) as error:
        require_comparable([terms("a"), terms("b", "clean", seed=1)])
    line = f"not comparable: a has the view {PGD}, and b has not (and seed)"
    assert str(error.value) == line


def test_the_committed_report_agrees_with_itself() -> None:
    record = Terms.read(REPORT)
    assert list(record.cells.columns) == list(TERM_COLUMNS)
    assert record.cells.drop(columns=["origin", "versions"]).notna().all(axis=None)
    assert set(record.cells.loc[record.cells["view"].eq("fog@3"), "origin"]) == {"generated"}
    assert mismatches([record, record]) == []


def test_damage_is_one_sentence(tmp_path: Path) -> None:
    for name in ("run.json", "cells.parquet", "metrics.parquet"):
        shutil.copy(REPORT / name, tmp_path / name)
    run = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({key: run[key] for key in run if key != "seed"}))
    with pytest.raises(RecordError, match="is damaged: 'seed' is missing"):
        Terms.read(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({**run, "format": 0}))
    with pytest.raises(RecordError, match="has report format 0, this robusteval writes 1"):
        Terms.read(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps(run))
    whole = (tmp_path / "cells.parquet").read_bytes()
    (tmp_path / "cells.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RecordError, match=r"cells\.parquet is damaged"):
        Terms.read(tmp_path)
