"""The page of a report: what stands in it, and what a reader does with it in a browser."""

import base64
import io
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest

from robusteval.cli import main
from robusteval.core.errors import RecordError
from robusteval.reporting import page
from robusteval.reporting.page import cards, comparison, drawings, heads, provenance
from robusteval.reporting.page.table import Cell, Table
from robusteval.reporting.plots import Chart, Record
from robusteval.results import files
from robusteval.results.schema import metric_frame

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "reports" / "fashion-mnist"
MODELS = ("erm-seed0", "erm-seed1", "mixup-seed0", "pgd-at-seed0")
FLAGGED, FAILED = "erm-seed1", "pgd-at-seed0"
PGD = "pgd(eps=8/255, steps=10)"
NASTY = "<img src=x onerror=alert(1)>&\"'</script>"
CHROMIUM = shutil.which("chromium")
LOCAL = re.compile("(file|data|blob):")

# Numbers.


def row(model: str, view: str, kind: str, value: float = 0.9, metric: str | None = "accuracy", **more: Any) -> Any:
    common = {"model": model, "variant": model.split("-")[0], "data": "digits", "view": view, "kind": kind, "n": 100}
    if metric is not None:
        common |= {"metric": metric, "value": value, "low": value - 0.02, "high": value + 0.01}
    return {**common, **more}


def measured(seed: int, value: float, **attack: Any) -> list[dict[str, Any]]:
    model, common = f"erm-seed{seed}", {"train_seed": seed}
    return [
        row(model, "clean", "clean", value, **common),
        row(model, "clean", "clean", 0.05, "ece", **common),
        row(model, PGD, "attack", value / 2, **common, **{"grade": "quick", **attack}),
        row(model, "fog@1", "corruption", value - 0.1, **common),
        row(model, "fog@2", "corruption", value - 0.2, **common),
        row(model, "linearity", "linearity", 2.5, "gamma", **common),
    ]


NO_MEANS = pd.DataFrame(columns=["model", "column", "value", "low", "high", "n"])


def found(*rows: dict[str, Any], means: pd.DataFrame = NO_MEANS) -> pd.DataFrame:
    return comparison.numbers(metric_frame(list(rows)), means)


def test_clean_stands_before_robust_and_every_number_has_its_column() -> None:
    numbers = found(*measured(0, 0.9))
    assert list(numbers.columns) == list(comparison.NUMBERS)
    assert list(numbers["column"]) == ["clean", PGD, "fog@1", "fog@2", "ece", "linearity"]
    assert list(numbers["value"]) == pytest.approx([0.9, 0.45, 0.8, 0.7, 0.05, 2.5])


def test_a_curve_is_a_column_for_each_radius_from_the_smallest() -> None:
    view = "pgd(eps=(2/255, 1/255), steps=5)"
    points = [
        row("a", view, "attack", value, eps=number / 255, eps_text=f"{number}/255")
        for number, value in ((2, 0.3), (1, 0.6))
    ]
    numbers = found(*points, row("b", view, "attack", metric=None, error="broken"))
    assert list(dict.fromkeys(numbers["column"])) == ["pgd(steps=5) at 1/255", "pgd(steps=5) at 2/255"]
    assert list(numbers[numbers["model"].eq("a")]["value"]) == [0.6, 0.3]
    assert list(numbers[numbers["model"].eq("b")]["error"]) == ["broken", "broken"]


def test_means_over_seeds_have_their_spread_and_nobody_elses() -> None:
    values = [0.9, 0.8, 0.85]
    rows = [line for seed, value in enumerate(values) for line in measured(seed, value)]
    other = row("stranger", "clean", "clean", 0.7, variant=None)
    averaged = comparison.by_variant(found(*rows, other)).set_index(["row", "column"])
    clean = averaged.loc[("erm", "clean")]
    assert (clean["seeds"], clean["value"], clean["spread"]) == (
        3,
        pytest.approx(np.mean(values)),
        pytest.approx(np.std(values, ddof=1)),
    )
    assert (averaged.loc[("stranger", "clean")]["seeds"], averaged.loc[("stranger", "clean")]["value"]) == (1, 0.7)
    assert np.isnan(averaged.loc[("stranger", "clean")]["spread"])


def test_the_mean_over_seeds_of_a_failure_is_one_and_a_flag_stays_in_sight() -> None:
    lines = [*measured(0, 0.9), *measured(1, 0.8, grade="C", flags="unstable")]
    lines.append(row("erm-seed2", PGD, "attack", metric=None, train_seed=2, error="NaN"))
    averaged = comparison.by_variant(found(*lines)).set_index("column")
    assert averaged.loc[PGD, ["grade", "flags", "error"]].tolist() == ["C", "unstable", "NaN"]
    assert np.isnan(averaged.loc[PGD, "value"])
    assert averaged.loc["clean", "value"] == pytest.approx(0.85)


def test_two_models_of_one_seed_are_no_repetitions() -> None:
    one, two = row("erm-seed0", "clean", "clean", train_seed=0), row("erm-wide", "clean", "clean", train_seed=0)
    assert list(comparison.by_variant(found(one, two))["row"]) == ["erm-seed0", "erm-wide"]


def test_a_stranger_with_the_name_of_a_variant_is_not_averaged_with_it() -> None:
    lines = [*measured(0, 0.9), *measured(1, 0.8), row("erm", "clean", "clean", 0.1, variant=None)]
    averaged = comparison.by_variant(found(*lines)).query("column == 'clean'")
    assert dict(zip(averaged["row"], averaged["value"], strict=True)) == {
        "erm (variant)": pytest.approx(0.85),
        "erm": 0.1,
    }


def test_the_mean_over_corruptions_is_that_of_the_samples() -> None:
    metrics = metric_frame([*measured(0, 0.9), *measured(1, 0.8)])
    right = {"fog@1": [True, True, False, True], "fog@2": [True, False, False, False]}
    frames = [
        pd.DataFrame({"model": "erm-seed0", "view": view, "sample": range(4), "correct": correct})
        for view, correct in right.items()
    ]
    means = comparison.corruption_means(metrics, pd.concat([*frames, frames[0].assign(model="erm-seed1")]))
    (only,) = means.to_dict("records")
    assert (only["model"], only["column"], only["n"]) == ("erm-seed0", "mean of 2 corrupted", 4)
    assert only["low"] < only["value"] == 0.5 < only["high"]
    fewer = comparison.corruption_means(metrics, pd.concat([frames[0], frames[1].head(3)]))
    assert fewer["n"].tolist() == [3], "the mean is over the samples that all views have"
    numbers = comparison.numbers(metrics, means).query("column == 'mean of 2 corrupted'")
    assert numbers["value"].tolist() == [0.5, pytest.approx(np.nan, nan_ok=True)]


# Tables and cards.


def test_cells_show_interval_grade_flags_and_failures() -> None:
    lines = [*measured(0, 0.9), *measured(1, 0.8, grade="C", flags="unstable")]
    lines.append(row("erm-seed2", PGD, "attack", metric=None, train_seed=2, error="NaN\nlogits"))
    table = heads.of_models(found(*lines))
    assert [column.name for column in table.columns[:4]] == ["model", "clean accuracy (%)", PGD, "fog@1"]
    assert [column.badge for column in table.columns[:4]] == ["", "", "quick", ""]
    plain, flagged, failed = (cells[2] for cells in table.rows)
    assert plain == Cell("45.0", 0.45, "43.0 to 46.0", share=0.45)
    assert (flagged.text, flagged.badge) == ("40.0", "C")
    assert flagged.alarm == "upper bound, potentially unreliable: unstable"
    assert (failed.text, failed.order, failed.alarm) == ("failed", None, "NaN logits")
    assert table.rows[2][1] == Cell("-")
    assert table.groups[:2] == [("", 1), ("accuracy under attack (%)", 1)]
    assert {len(cells) for cells in table.rows} == {len(table.columns)}


def test_the_table_of_variants_shows_spread_and_never_an_interval() -> None:
    table = heads.of_variants(comparison.by_variant(found(*measured(0, 0.9), *measured(1, 0.8))))
    assert [cell.text for cell in table.rows[0][:3]] == ["erm", "2", "85.0"]
    assert table.rows[0][2].detail == "± 7.1"
    assert table.data.columns.tolist()[:4] == ["variant", "seeds", "accuracy, clean", "accuracy, clean, spread"]
    assert not any("low" in column for column in table.data.columns)


def test_the_csv_has_the_numbers_themselves() -> None:
    data = heads.of_models(found(*measured(0, 0.9))).data
    assert data.loc[0, ["accuracy, clean", "accuracy, clean, low", "gamma, linearity"]].tolist() == [0.9, 0.88, 2.5]
    assert data.loc[0, f"accuracy, {PGD}, grade"] == "quick"
    assert "ece" in data


def test_any_frame_is_a_table() -> None:
    table = Table.of("Some things", pd.DataFrame({"a": ["x", None], "b": [1.23456789, 2.0]}), most=1)
    assert [cell.text for cell in table.rows[0]] == ["x", "1.2346"]
    assert (table.left_out, table.file) == (1, "some-things.csv")


def test_cards_name_the_best_of_the_strongest_attack_and_put_flagged_ones_aside() -> None:
    lines = [*measured(0, 0.7), *measured(1, 0.9, grade="C", flags="unstable")]
    lines += [row(f"erm-seed{seed}", "fgsm(eps=8/255)", "attack", 0.6, grade="quick") for seed in (0, 1)]
    lines += [row(f"erm-seed{seed}", "noise(eps=8/255)", "attack", 0.01, grade="C", flags="x") for seed in (0, 1)]
    made = {card.title: card for card in cards.cards(found(*lines))}
    attacked = made["Accuracy under attack"]
    assert (attacked.about, attacked.value, attacked.badge) == (PGD, "35.0%", "quick")
    assert attacked.who == "erm-seed0: the highest of 2 (1 flagged aside)"
    assert made["Clean accuracy"].value == "90.0%"
    assert made["Clean accuracy"].dots == [70.0, 90.0]
    assert made["Local linearity error"].ends == ("0", "2.500 nats")


def test_a_flagged_headline_reads_upper_bound() -> None:
    (_, attacked, *_) = cards.cards(found(*measured(0, 0.9, grade="C", flags="unstable")))
    assert (attacked.who, attacked.badge) == ("erm-seed0", "C")
    assert attacked.alarm == "upper bound, potentially unreliable: unstable"


def test_trust_counts_cells() -> None:
    lines = [*measured(0, 0.9), *measured(1, 0.9, grade="C", flags="unstable, randomised")]
    lines.append(row("b", "clean", "clean", metric=None, error="NaN"))
    trust = cards.trust(metric_frame(lines))
    assert (trust.cells, trust.grades, trust.flagged, trust.failed) == (11, {"quick": 1, "C": 1}, 1, 1)
    assert trust.flags == ["unstable", "randomised"]


def test_the_cells_of_a_record_of_before_are_listed() -> None:
    metrics = metric_frame([{**line, "cell": f"{number}"} for number, line in enumerate(measured(0, 0.9))])
    cells = provenance.cells(metrics, pd.DataFrame({"cell": ["0"], "by": ["torch 2"]}))
    assert cells.loc[0, ["view", "accuracy", "ece", "computed by"]].tolist() == ["clean", 0.9, 0.05, "torch 2"]
    assert len(cells) == 5


# Drawings.


class Bars(Chart):
    """Not registered: nothing but an instance is needed."""

    name: ClassVar[str] = "bars"
    title: ClassVar[str] = "Bars"
    about: ClassVar[str] = "Of a test."
    frame: ClassVar[pd.DataFrame] = pd.DataFrame({"x": [1, 2], "y": [0.123456789, np.nan]})
    names: ClassVar[tuple[str, ...]] = ("one", "two", "three")

    def frames(self, record: Record) -> dict[str, pd.DataFrame]:
        return dict.fromkeys(self.names, self.frame)

    def static(self, name: str, frame: pd.DataFrame) -> Any:
        raise NotImplementedError

    def interactive(self, name: str, frame: pd.DataFrame) -> Any:
        import plotly.graph_objects as go

        return go.Figure(go.Scatter(x=frame["x"], y=frame["y"], name=NASTY), layout={"title": {"text": name}})


def test_figures_are_compact_and_cannot_leave_their_script(tmp_path: Path) -> None:
    (section,) = drawings.sections(Record(tmp_path), plots=[Bars()])
    payload = section.drawings[0].figure
    assert not set("<>&") & set(payload)
    figure = json.loads(payload)
    assert "template" not in figure["layout"]
    assert figure["data"][0]["name"] == NASTY
    assert figure["data"][0]["y"] == [0.12346, None]


def test_long_arrays_are_in_single_precision(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).random(5000)
    plot = type("Long", (Bars,), {"frame": pd.DataFrame({"x": np.arange(5000), "y": numbers})})()
    (section,) = drawings.sections(Record(tmp_path), plots=[plot])
    y = json.loads(section.drawings[0].figure)["data"][0]["y"]
    assert y["dtype"] == "f4"
    read = np.frombuffer(base64.b64decode(y["bdata"]), dtype=np.float32)
    assert np.allclose(read, numbers, atol=1e-6)


def test_what_does_not_fit_is_left_out_by_name_and_the_small_stay_whole(tmp_path: Path) -> None:
    small = Bars()
    size = drawings.sections(Record(tmp_path), plots=[small])[0].size
    many = type("Many", (Bars,), {"name": "many", "names": tuple(f"n{number}" for number in range(30))})()
    first, second = drawings.sections(Record(tmp_path), budget=3 * size, plots=[many, small])
    assert (first.id, second.id) == ("many", "bars")
    assert second.left_out == []
    assert 0 < len(first.drawings) < 30
    assert list(first.left_out) == [f"n{number}" for number in range(len(first.drawings), 30)]
    assert first.size + second.size <= 3 * size


def test_figures_of_equal_slugs_have_their_own_ids(tmp_path: Path) -> None:
    plot = type("Same", (Bars,), {"names": ("fog@3", "fog 3")})()
    (section,) = drawings.sections(Record(tmp_path), plots=[plot])
    assert [drawing.id for drawing in section.drawings] == ["bars-fog-3", "bars-fog-3-2"]


# The whole page, of a few models of the committed report, one of them flagged, one failed, one with a nasty name.


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return part(tmp_path_factory.mktemp("reports") / "part")


def part(folder: Path) -> Path:
    """A report of some models of the committed one."""
    folder.mkdir()
    metrics, cells = (pd.read_parquet(COMMITTED / f"{name}.parquet") for name in ("metrics", "cells"))
    metrics, cells = (frame[frame["model"].isin(MODELS)].copy() for frame in (metrics, cells))
    flagged = metrics["model"].eq(FLAGGED) & metrics["view"].eq(PGD)
    metrics.loc[flagged, "grade"], metrics.loc[flagged, "flags"] = "C", "loss-still-rising"
    failed = metrics["model"].eq(FAILED) & metrics["view"].eq("fog@3")
    broken = metrics[failed].head(1).assign(metric=None, value=np.nan, low=np.nan, high=np.nan, error="NaN logits")
    metrics = pd.concat([metrics[~failed], broken], ignore_index=True)
    for frame, name in ((metrics, "metrics"), (cells, "cells")):
        frame["model"] = frame["model"].replace("mixup-seed0", NASTY)
        files.write_frame(folder / f"{name}.parquet", frame)
    run = json.loads((COMMITTED / "run.json").read_text())
    for table in (run["models"], run["weights"]):
        table[NASTY] = table["mixup-seed0"]
    (folder / "run.json").write_text(json.dumps(run))
    shutil.copy(COMMITTED / "timings.parquet", folder)
    for kind in ("samples", "examples"):
        (folder / kind).mkdir()
        for cell in cells["cell"]:
            for path in (COMMITTED / kind).glob(f"{cell}.*"):
                shutil.copy(path, folder / kind)
    return folder


@pytest.fixture(scope="module")
def written(folder: Path) -> Path:
    return page.write(folder)


class Outline(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def values(self, name: str) -> list[str]:
        return [str(attributes[name]) for _, attributes in self.tags if name in attributes]


def test_the_page_stands_alone_and_is_small(written: Path) -> None:
    text = written.read_text()
    outline = Outline(text)
    for name in ("src", "href"):
        assert all(value.startswith(("data:", "#")) for value in outline.values(name))
    assert len(text.encode()) < 8e6
    ids = outline.values("id")
    assert len(set(ids)) == len(ids)
    assert {value.removeprefix("#") for value in outline.values("href") if value.startswith("#")} <= set(ids)


def test_names_from_files_are_text(written: Path) -> None:
    outline = Outline(written.read_text())
    assert any(NASTY in words for words in outline.words)
    assert not any("onerror" in attributes for _, attributes in outline.tags)
    assert "x" not in outline.values("src")


def test_the_same_record_gives_the_same_page(folder: Path, written: Path) -> None:
    assert page.render(Record(folder)) == written.read_text()


def test_grades_flags_failures_and_provenance_are_in_sight(written: Path) -> None:
    words = " ".join(" ".join(Outline(written.read_text()).words).split())
    assert "loss-still-rising" in words
    assert "NaN logits" in words
    assert "upper bound, potentially unreliable" in words
    assert "9f900bdc3180003f23a79b1e74b4828f5ce6c76b899b748cc84500dc99716a56" in words, "the digest of the data"
    assert "a83b120043991d9c01b490102a6cd490b0b2b67d69e79810e1ab3e7037b0d3a4" in words, "the digest of erm-seed0"


@pytest.mark.parametrize("damage", ["samples", "examples", "metrics", "version", "no report"])
def test_a_damaged_record_is_refused_in_one_line_and_no_page_is_written(
    folder: Path, tmp_path: Path, damage: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("report.html"))
    if damage in ("samples", "examples"):
        for path in (copy / damage).iterdir():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif damage == "metrics":
        (copy / "metrics.parquet").write_bytes(b"PAR1")
    elif damage == "version":
        (copy / "run.json").write_text('{"format": 0}')
    else:
        (copy / "run.json").unlink()
    before = sorted(copy.rglob("*"))
    said = {"version": "has report format 0, this robusteval writes 1", "no report": "is not a report folder"}
    with pytest.raises(RecordError, match=said.get(damage, "is damaged: delete it")) as error:
        page.write(copy)
    assert "\n" not in str(error.value)
    assert sorted(copy.rglob("*")) == before


# The command line.


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["robusteval", *map(str, arguments)])
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def test_the_verb_writes_the_page_or_leaves_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("report.html", "samples", "examples"))
    for kind in ("samples", "examples"):
        (copy / kind).symlink_to(folder / kind)
    assert run(monkeypatch, "report", copy, "--no-html") == 0
    assert not (copy / "report.html").exists()
    assert f"as a page with figures and examples: robusteval report {copy}\n" in capfd.readouterr().out
    monkeypatch.setattr("robusteval.reporting.page.write", lambda folder: files.write_text(folder / "report.html", "x"))
    asked = []
    monkeypatch.setattr(
        "robusteval.reporting.plots.write", lambda *given: asked.append(given) or [Path("a"), Path("b")]
    )
    assert run(monkeypatch, "report", copy, "--figures", tmp_path / "figures", "--format", "svg, png") == 0
    assert (copy / "report.html").exists()
    said = capfd.readouterr()
    assert f"figures: 2 in {tmp_path}/figures/" in said.out
    assert said.out.endswith("corruptions.csv, report.html)\n")
    assert [(record.folder, place, formats) for record, place, formats in asked] == [
        (copy, tmp_path / "figures", ["svg", "png"])
    ]


def test_bad_input_of_the_verb_is_one_line_and_leaves_everything(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("report.html", "table.*"))
    next((copy / "samples").iterdir()).write_bytes(b"PAR1")
    before = sorted(copy.rglob("*"))
    assert run(monkeypatch, "report", copy) == 2
    assert run(monkeypatch, "report", copy, "--format", "pdf") == 2
    said = capfd.readouterr()
    assert said.out == ""
    damaged, unknown = said.err.splitlines()
    assert "is damaged: delete it and run the same command again" in damaged
    assert unknown == "robusteval: format='pdf': choose from png, svg"
    assert sorted(copy.rglob("*")) == before


# In a browser.


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("chromium is not on this machine: apt-get install chromium")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def said() -> list[str]:
    """What the consoles say and what the network is asked for, since it was last looked at."""
    return []


@pytest.fixture(scope="module")
def opened(browser: Any, written: Path, said: list[str]) -> Callable[..., Any]:
    """Open the page in a window of a width."""

    def open_page(width: int, **settings: Any) -> Any:
        page = browser.new_context(viewport={"width": width, "height": 900}, **settings).new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: None if LOCAL.match(request.url) else said.append(request.url))
        page.goto(written.as_uri())
        for chart in page.locator(".drawing:not([hidden]) .chart").all():
            chart.locator(".main-svg").first.wait_for()
        return page

    return open_page


@pytest.fixture(scope="module")
def desk(opened: Callable[..., Any]) -> Any:
    return opened(1280, color_scheme="light")


@pytest.fixture
def desktop(desk: Any, said: list[str]) -> Iterator[Any]:
    """The page on a wide screen, which tests share; what went wrong in one fails it."""
    yield desk
    wrong, said[:] = list(said), []
    assert wrong == []


def column(shown: Any, table: str, number: int) -> list[str]:
    cells: list[str] = shown.locator(f"#{table} tbody tr > :nth-child({number})").evaluate_all(
        "cells => cells.map(cell => cell.firstChild.textContent.trim())"
    )
    return cells


def rows_of(shown: Any, kind: str) -> None:
    shown.get_by_role("radio", name=kind, exact=True).check()


def test_it_opens_and_draws_every_figure(desktop: Any) -> None:
    assert desktop.locator(".card").count() >= 5
    assert desktop.locator(".drawing:not([hidden]) .chart .main-svg").count() > 0
    images = desktop.locator(".gallery img")
    assert images.count() > 0
    assert images.evaluate_all("all => all.every(each => each.naturalWidth > 0)")


def test_it_sorts_by_mouse_and_by_keyboard(desktop: Any) -> None:
    rows_of(desktop, "models")
    head = desktop.locator("#table-models thead th", has=desktop.get_by_role("button", name="fog@3"))
    button = head.get_by_role("button")
    number = 1 + head.evaluate("each => each.cellIndex")
    button.click()
    values = column(desktop, "table-models", number)
    assert head.get_attribute("aria-sort") == "descending"
    assert values[-1] == "failed", "what has no number comes last"
    assert [float(value) for value in values[:-1]] == sorted(map(float, values[:-1]), reverse=True)
    button.focus()
    desktop.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert column(desktop, "table-models", number) == [*values[-2::-1], "failed"]
    desktop.locator("#table-models").get_by_role("button", name="model").click()
    assert head.get_attribute("aria-sort") == "none"
    names = column(desktop, "table-models", 1)
    assert [name for name in names if name != NASTY] == ["erm-seed0", "erm-seed1", "pgd-at-seed0"]


def test_it_switches_between_rows_models_and_views(desktop: Any) -> None:
    rows_of(desktop, "variants")
    assert desktop.locator("#table-variants").is_visible()
    assert not desktop.locator("#table-models").is_visible()
    rows_of(desktop, "models")
    assert desktop.locator("#table-models").is_visible()
    assert not desktop.locator("#table-variants").is_visible()
    select = desktop.locator("#reliability-select")
    choices = select.locator("option").evaluate_all("all => all.map(each => each.value)")
    assert len(choices) == len(MODELS)
    select.select_option(choices[1])
    desktop.locator(f"#{choices[1]} .main-svg").first.wait_for()
    assert not desktop.locator(f"#{choices[0]}").is_visible()
    legend = desktop.locator(f"#{choices[1]} .legend .traces")
    assert legend.count() > 2
    desktop.locator("#reliability-lines").select_option("clean")
    desktop.wait_for_function(f"document.querySelectorAll('#{choices[1]} .legend .traces').length == 2")
    select.select_option(choices[2])
    desktop.wait_for_function(f"document.querySelectorAll('#{choices[2]} .legend .traces').length == 2")
    desktop.locator("#reliability-lines").select_option("")


def test_tables_are_downloaded_as_csv(desktop: Any, folder: Path) -> None:
    rows_of(desktop, "models")
    with desktop.expect_download() as waiting:
        desktop.get_by_role("link", name="Download models as CSV").click()
    assert waiting.value.suggested_filename == "models.csv"
    read = pd.read_csv(io.BytesIO(Path(waiting.value.path()).read_bytes()), index_col="model")
    metrics = pd.read_parquet(folder / "metrics.parquet")
    clean = metrics[metrics["view"].eq("clean") & metrics["metric"].eq("accuracy")].set_index("model")
    assert read["accuracy, clean"].to_dict() == pytest.approx(clean["value"].to_dict())
    assert read["accuracy, clean, low"].to_dict() == pytest.approx(clean["low"].to_dict(), rel=1e-5)
    assert read.loc[FLAGGED, f"accuracy, {PGD}, flags"] == "loss-still-rising"


def ground(shown: Any) -> int:
    """The largest channel of the background."""
    colour = shown.evaluate("getComputedStyle(document.body).backgroundColor")
    return max(int(part) for part in re.findall(r"\d+", colour)[:3])


def test_it_is_light_or_dark_as_the_system_and_as_asked(desktop: Any) -> None:
    toggle = desktop.get_by_role("button", name="Dark", exact=True)
    assert ground(desktop) > 200
    desktop.emulate_media(color_scheme="dark")
    assert ground(desktop) < 60
    desktop.wait_for_function("document.getElementById('theme').getAttribute('aria-pressed') == 'true'")
    toggle.click()
    assert (ground(desktop) > 200, toggle.get_attribute("aria-pressed")) == (True, "false")
    desktop.emulate_media(color_scheme="light")
    toggle.click()
    assert (ground(desktop) < 60, toggle.get_attribute("aria-pressed")) == (True, "true")
    toggle.click()
    assert ground(desktop) > 200


def test_it_prints_light_and_unfolded(desktop: Any) -> None:
    toggle = desktop.get_by_role("button", name="Dark", exact=True)
    toggle.click()
    desktop.emulate_media(media="print")
    desktop.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert not desktop.locator("nav").is_visible()
    assert desktop.evaluate("getComputedStyle(document.querySelector('h1')).color") == "rgb(29, 34, 40)"
    assert desktop.locator("#comparison details:not([open])").count() == 0
    widths = desktop.locator(".chart[data-drawn] .main-svg").evaluate_all(
        "all => all.map(each => each.getBoundingClientRect().width)"
    )
    assert 0 < max(widths) <= 1000
    desktop.evaluate("dispatchEvent(new Event('afterprint'))")
    desktop.emulate_media(media="screen")
    assert ground(desktop) < 60
    toggle.click()


def test_on_a_phone_nothing_overflows_the_first_column_stays_and_the_keyboard_skips(
    opened: Callable[..., Any], said: list[str]
) -> None:
    shown = opened(390, has_touch=True)
    assert shown.evaluate("document.scrollingElement.scrollWidth") <= 390
    region = shown.locator("#comparison .scroll:visible").first
    assert region.evaluate("each => { each.scrollLeft = 300; return each.scrollLeft }") > 0
    gap = region.evaluate(
        "each => each.querySelector('tbody th').getBoundingClientRect().left - each.getBoundingClientRect().left"
    )
    assert abs(gap) <= 2
    shown.keyboard.press("Tab")
    assert shown.evaluate("document.activeElement.className") == "skip"
    shown.keyboard.press("Enter")
    assert shown.evaluate("document.activeElement.id") == "main"
    assert said == []
