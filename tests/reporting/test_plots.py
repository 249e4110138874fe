"""The plots of a report: their numbers are those of its samples, and their figures can be read."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from robusteval.core.errors import InputError, RecordError
from robusteval.core.statistics import poisson_weights, wilson
from robusteval.engine.plan import Settings
from robusteval.engine.run import Run
from robusteval.engine.serial import Serial
from robusteval.engine.sources import DataSource, ModelSource
from robusteval.engine.suite import Group, Suite
from robusteval.metrics import reliability_diagram
from robusteval.models.foreign import Description
from robusteval.models.loading import describe
from robusteval.reporting.pictures import pixels
from robusteval.reporting.plots import PLOTS, Chart, Gallery, Plot, Record, looks, write
from robusteval.reporting.plots.choice import corrupted_views, strongest_attack
from robusteval.reporting.plots.plot import ordered
from robusteval.reporting.plots.reliability import error
from robusteval.reporting.tables import UNRELIABLE
from robusteval.results.schema import predictions_of

ROOT = Path(__file__).parents[2]
CHECKPOINTS = ROOT / "checkpoints" / "fashion-mnist"
MODELS = ("erm-seed0", "erm-seed1", "mixup-seed0")
CURVE, FGSM = "pgd(eps=(1/255, 2/255, 8/255), steps=3)", "fgsm(eps=8/255)"
PLANE = "landscape(radii=(0.2,), directions=1, points=3)"
SUITE = Suite(
    name="tiny",
    views=(
        Group(specs=("clean", "fog@1", "fog@3", "contrast@3", "spatter@2"), samples=48),
        Group(specs=(FGSM, CURVE, "linearity(steps=1)", "between(points=2)"), samples=32),
        Group(specs=(PLANE,), samples=16),
    ),
)

Samples = Callable[[str, str], pd.DataFrame]


def measured(folder: Path, suite: Suite, models: tuple[str, ...]) -> Record:
    """A report of bundled checkpoints."""
    sources = []
    for model in models:
        path = CHECKPOINTS / f"{model}.safetensors"
        sources.append(ModelSource(model, DataSource("fashion-mnist"), path, describe(path, Description())))
    said: list[str] = []
    Run(suite, sources, Settings(), Serial(), None).into(folder, said.append)
    return Record(folder)


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return measured(tmp_path_factory.mktemp("plots") / "report", SUITE, MODELS)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """A report of nothing but clean accuracy."""
    suite = Suite(name="bare", views=(Group(specs=("clean",), samples=8),))
    return measured(tmp_path_factory.mktemp("bare") / "report", suite, MODELS[:1])


@pytest.fixture(scope="module")
def samples(record: Record) -> Samples:
    """The rows of a cell, read from its file and nothing else."""
    cells = pd.read_parquet(record.folder / "cells.parquet").set_index(["model", "view"])["cell"]
    return lambda model, view: pd.read_parquet(record.folder / "samples" / f"{cells[model, view]}.parquet")


def accuracy(rows: pd.DataFrame) -> float:
    return float((rows["prediction"] == rows["label"]).mean())


# What every plot keeps.


@pytest.fixture(params=list(PLOTS.classes))
def plot(request: pytest.FixtureRequest) -> Plot:
    return PLOTS.parse(str(request.param))


def test_it_is_a_chart_or_a_gallery_and_says_how_to_read_it(plot: Plot) -> None:
    assert isinstance(plot, Chart | Gallery)
    assert plot.title
    assert plot.about.endswith(".")


def test_no_two_stand_in_one_place() -> None:
    places = [each.order for each in ordered()]
    assert places == sorted(set(places))


def test_its_figures_have_titles_units_and_legends(plot: Plot, record: Record, tmp_path: Path) -> None:
    frames = plot.frames(record)
    assert frames
    for name, frame in frames.items():
        assert len(frame), name
    for name in [*frames][:: max(1, len(frames) // 3)]:
        figure = plot.static(name, frames[name])
        texts = [figure.get_suptitle(), *(panel.get_title() for panel in figure.axes)]
        assert any(texts), name
        if isinstance(plot, Gallery):
            continue
        panels = [panel for panel in figure.axes if panel.get_label() != "<colorbar>"]
        bars = [panel for panel in figure.axes if panel.get_label() == "<colorbar>"]
        assert any(panel.get_xlabel() for panel in panels), name
        assert any(panel.get_ylabel() for panel in panels), name
        solid = any(hasattr(panel, "get_zlabel") and panel.get_zlabel() for panel in panels)
        assert solid or bars or figure.legends or any(panel.get_legend() for panel in panels), name


def test_its_figures_for_a_page_have_titles_units_and_legends(plot: Plot, record: Record) -> None:
    if not isinstance(plot, Chart):
        pytest.skip("a gallery is pictures")
    for name, frame in plot.frames(record).items():
        payload = json.loads(plot.interactive(name, frame).to_json())
        layout = payload["layout"]
        assert layout["title"]["text"], name
        assert layout["paper_bgcolor"] == "rgba(0, 0, 0, 0)"
        assert "template" not in layout or not layout["template"].get("layout", {}).get("colorway")
        scenes = [layout[key] for key in layout if key.startswith("scene")]
        for scene in scenes:
            assert all(scene[axis]["title"]["text"] for axis in ("xaxis", "yaxis", "zaxis"))
        if not scenes:
            axes = [key for key in layout if key.startswith(("xaxis", "yaxis"))]
            titled = {key[0] for key in axes if layout[key].get("title", {}).get("text")}
            assert "x" in titled
            assert "y" in titled or layout["yaxis"]["type"] == "category"  # whose ticks are the models
        named = [trace for trace in payload["data"] if trace.get("name") and trace.get("showlegend", True)]
        assert named or any("colorbar" in trace for trace in payload["data"])
        assert len(json.dumps(payload)) < 200_000


def test_a_report_without_its_views_has_none_of_it(plot: Plot, bare: Record) -> None:
    assert set(plot.frames(bare)) == ({"erm-seed0"} if plot.name == "reliability" else set())


def test_pictures_are_png_files_in_their_places(plot: Plot, record: Record) -> None:
    if isinstance(plot, Gallery):
        for frame in plot.frames(record).values():
            assert list(frame.columns) == ["row", "column", "image", "caption"]
            assert not frame.duplicated(["row", "column"]).any()
            assert all(pixels(image).shape == (28, 28, 3) for image in frame["image"])


# The numbers.


def test_a_curve_is_of_the_samples(record: Record, samples: Samples) -> None:
    frames = PLOTS.parse("eps-curve").frames(record)
    assert list(frames) == ["fgsm", "pgd(steps=3)"]
    for model in MODELS:
        rows = frames["pgd(steps=3)"].query("model == @model").set_index("eps_text")
        assert list(rows.index) == ["0", "1/255", "2/255", "8/255"]
        attacked, clean = samples(model, CURVE), samples(model, "clean")
        same = clean[clean["sample"].isin(attacked["sample"])]
        assert len(same) == 32 < len(clean)
        assert rows.loc["0", "accuracy"] == accuracy(same)
        assert rows.loc["0", ["low", "high"]].tolist() == list(wilson(round(32 * accuracy(same)), 32)[1:])
        for radius in (1, 2, 8):
            assert rows.loc[f"{radius}/255", "accuracy"] == (attacked["distance"] > radius / 255).mean()
        assert rows["accuracy"].is_monotonic_decreasing
        assert (rows["n"] == 32).all()
        assert frames["fgsm"].query("model == @model")["accuracy"].tolist()[1] == accuracy(samples(model, FGSM))
    assert set(frames["fgsm"]["variant"]) == {"erm", "mixup"}


def test_a_map_is_of_the_samples(record: Record, samples: Samples) -> None:
    frames = PLOTS.parse("corruption-heatmap").frames(record)
    expected = ["all models", "the mean of 2 erm", *MODELS]
    assert list(frames) == [*(f"{name}, corrupted" for name in expected), "all models, extra"]
    whole = frames["all models, corrupted"].set_index(["row", "column"])
    for model in MODELS:
        own = frames[f"{model}, corrupted"].set_index(["row", "column"])
        for corruption, severity in (("fog", "1"), ("fog", "3"), ("contrast", "3")):
            value = accuracy(samples(model, f"{corruption}@{severity}"))
            found = own.loc[(corruption, severity)]
            assert found["accuracy"] == pytest.approx(value)
            assert found["low"] < value < found["high"]
        mean = np.mean([accuracy(samples(model, f"fog@{severity}")) for severity in (1, 3)])
        assert whole.loc[(model, "fog"), "accuracy"] == pytest.approx(mean)
        assert pd.isna(whole.loc[(model, "fog"), "low"])
        single = accuracy(samples(model, "contrast@3"))
        assert whole.loc[(model, "contrast@3"), "low"] < single == whole.loc[(model, "contrast@3"), "accuracy"]
    both = frames["the mean of 2 erm, corrupted"].set_index(["row", "column"])
    mean = np.mean([accuracy(samples(model, "contrast@3")) for model in MODELS[:2]])
    assert both.loc[("contrast", "3"), "accuracy"] == pytest.approx(mean)


def test_a_mean_of_which_a_view_is_missing_is_not_shown(record: Record) -> None:
    other = Record(record.folder)
    metrics = record.metrics
    failed = metrics["model"].eq("erm-seed1") & metrics["view"].eq("fog@3")
    other.__dict__["metrics"] = metrics.assign(error=metrics["error"].mask(failed, "broken"))
    frames = PLOTS.parse("corruption-heatmap").frames(other)
    whole = frames["all models, corrupted"].set_index(["row", "column"]).index
    assert ("erm-seed0", "fog") in whole
    assert ("erm-seed1", "fog") not in whole
    both = frames["the mean of 2 erm, corrupted"].set_index(["row", "column"]).index
    assert set(both) == {("fog", "1"), ("contrast", "3")}
    figure = PLOTS.parse("corruption-heatmap").static("all models", frames["all models, corrupted"])
    assert len(figure.axes[0].texts) == 2 * len(MODELS) - 1


def test_a_diagram_is_of_the_samples(record: Record, samples: Samples) -> None:
    frames = PLOTS.parse("reliability(draws=50)").frames(record)
    assert list(frames) == list(MODELS)
    table = frames["mixup-seed0"]
    corrupted = ["fog@1", "fog@3", "contrast@3"]
    assert list(dict.fromkeys(table["view"])) == ["clean", FGSM, CURVE, *corrupted, "3 corrupted views"]
    fewer = PLOTS.parse("reliability(draws=5, most=1)").frames(record)["mixup-seed0"]
    assert list(dict.fromkeys(fewer["view"])) == ["clean", CURVE, "3 corrupted views"]
    clean = samples("mixup-seed0", "clean")
    shown = table[table["view"] == "clean"].reset_index(drop=True)
    known = reliability_diagram(predictions_of(clean), draws=50, seed=0)
    pd.testing.assert_frame_equal(shown[known.columns], known)
    bins = pd.cut(clean["confidence"], np.linspace(0, 1, 16), labels=False)
    by_bin = clean.assign(right=clean["prediction"] == clean["label"]).groupby(bins)
    assert shown["accuracy"].dropna().tolist() == pytest.approx(by_bin["right"].mean().tolist())
    assert shown["confidence"].dropna().tolist() == pytest.approx(by_bin["confidence"].mean().tolist())
    ece = record.metrics.query("model == 'mixup-seed0' and view == 'clean' and metric == 'ece'")["value"].iloc[0]
    assert error(shown) == pytest.approx(ece)


def test_corrupted_views_are_one_diagram_whose_samples_are_drawn_together(record: Record, samples: Samples) -> None:
    table = PLOTS.parse("reliability(draws=40, bins=4)").frames(record)["erm-seed1"]
    shown = table[table["view"] == "3 corrupted views"].reset_index(drop=True)
    rows = pd.concat([samples("erm-seed1", view) for view in ("fog@1", "fog@3", "contrast@3")])
    assert shown["count"].sum() == len(rows) == 3 * 48
    rows = rows.assign(right=rows["prediction"] == rows["label"], bin=np.ceil(rows["confidence"] * 4).astype(int) - 1)
    weights = pd.DataFrame(poisson_weights(np.arange(48), 40, 0).T.astype(float))
    for number, part in rows.groupby("bin"):
        drawn = weights.loc[part["sample"]]
        rates = (drawn.mul(part["right"].to_numpy(), axis=0).sum() / drawn.sum()).dropna()
        low, high = np.quantile(rates, [0.025, 0.975])
        assert shown.loc[number, ["accuracy_low", "accuracy_high"]].tolist() == pytest.approx([low, high])
        assert shown.loc[number, "accuracy"] == pytest.approx(part["right"].mean())


def test_other_views_can_be_asked_for(record: Record) -> None:
    frames = PLOTS.parse("reliability(views=['fog@3', 'spatter@2'], draws=5)").frames(record)
    assert list(dict.fromkeys(frames["erm-seed0"]["view"])) == ["fog@3", "spatter@2"]
    adversarial = PLOTS.parse(f"gallery-adversarial(view='{FGSM}', samples=2)").frames(record)
    assert list(adversarial) == [f"{model}, {FGSM}" for model in MODELS]
    assert len(adversarial[f"erm-seed0, {FGSM}"]) == 2 * 3
    assert PLOTS.parse("reliability(views=['snow@1'])").frames(record) == {}


def test_linearity_is_of_the_samples(record: Record, samples: Samples) -> None:
    frames = PLOTS.parse("linearity").frames(record)
    assert list(frames) == ["linearity(steps=1)", "between(points=2)"]
    near = frames["linearity(steps=1)"].set_index("model")
    between = frames["between(points=2)"].set_index(["model", "quantity", "pairs"])
    for model in MODELS:
        assert near.loc[model, "value"] == pytest.approx(samples(model, "linearity(steps=1)")["gamma"].mean())
        rows = samples(model, "between(points=2)")
        for pairs in ("across", "within"):
            share = between.loc[(model, "predicted as neither class (%)", pairs)]
            assert share["value"] == pytest.approx(100 * rows[f"neither_{pairs}"].mean())
            assert share["low"] <= share["value"] <= share["high"]
            logits = between.loc[(model, "deviation of the logits (L2)", pairs), "value"]
            assert logits == pytest.approx(rows[f"logit_deviation_{pairs}"].mean())


def test_a_landscape_is_that_of_the_record(record: Record) -> None:
    frames = PLOTS.parse("landscape").frames(record)
    assert list(frames) == [
        "line in weight space",
        *(f"plane in weight space, {how}" for how in ("level lines", "surface")),
        *(f"plane around the samples, {how}" for how in ("level lines", "surface")),
    ]
    cells = pd.read_parquet(record.folder / "cells.parquet").set_index(["model", "view"])["cell"]
    (path,) = (record.folder / "grids" / cells["mixup-seed0", PLANE]).glob("weights-2d-*.parquet")
    shown = frames["plane in weight space, surface"].query("model == 'mixup-seed0'").reset_index(drop=True)
    pd.testing.assert_frame_equal(shown[["a", "b", "loss", "accuracy"]], pd.read_parquet(path).drop(columns="n"))


def images(record: Record, samples: Samples, model: str, view: str) -> dict[str, NDArray[np.float64]]:
    """The kept examples of a cell in [0, 1]."""
    cells = pd.read_parquet(record.folder / "cells.parquet").set_index(["model", "view"])["cell"]
    found = load_file(record.folder / "examples" / f"{cells[model, view]}.safetensors")
    scaled = {name: found[name] / (255 if found[name].dtype == np.uint8 else 1) for name in ("clean", "changed")}
    return {**scaled, "sample": found["sample"]}


def grey(file: bytes) -> NDArray[np.uint8]:
    return pixels(file)[..., 0]


def test_adversarial_pictures_and_what_is_said_of_them(record: Record, samples: Samples) -> None:
    frames = PLOTS.parse("gallery-adversarial").frames(record)
    assert list(frames) == [f"{model}, {CURVE}" for model in MODELS]
    kept, frame = images(record, samples, "mixup-seed0", CURVE), frames[f"mixup-seed0, {CURVE}"]
    assert list(dict.fromkeys(frame["column"])) == ["clean", "perturbation x10", "attacked"]
    rows = samples("mixup-seed0", CURVE).set_index("sample")
    classes = record.run["classes"]["fashion-mnist"]
    for number, (row, part) in enumerate(frame.groupby("row", sort=False)):
        sample, by = int(kept["sample"][number]), part.set_index("column")
        assert row == f"sample {sample}: {classes[rows.loc[sample, 'label']]}"
        clean, changed = kept["clean"][number, 0], kept["changed"][number, 0]
        assert np.array_equal(grey(by.loc["clean", "image"]), np.rint(255 * clean))
        assert np.array_equal(grey(by.loc["attacked", "image"]), np.rint(255 * changed))
        magnified = np.clip(0.5 + 10 * (changed - clean), 0, 1)
        assert np.array_equal(grey(by.loc["perturbation x10", "image"]), np.rint(255 * magnified))
        said = by.loc["attacked", "caption"]
        assert said == f"{classes[rows.loc[sample, 'prediction']]}\n{100 * rows.loc[sample, 'confidence']:.0f}%"
        assert by.loc["perturbation x10", "caption"] == f"at most {255 * np.abs(changed - clean).max():.1f}/255"


def test_corrupted_pictures_are_those_of_one_sample(record: Record, samples: Samples) -> None:
    frames = PLOTS.parse("gallery-corruptions").frames(record)
    assert list(frames) == ["sample 0 (Ankle boot), corrupted", "sample 0 (Ankle boot), extra"]
    frame = frames["sample 0 (Ankle boot), corrupted"].set_index(["row", "column"])
    assert list(frame.index) == [
        *(("fog", column) for column in ("clean", "severity 1", "severity 3")),
        *(("contrast", column) for column in ("clean", "severity 3")),
    ]
    kept = images(record, samples, "erm-seed0", "fog@3")
    assert kept["sample"][0] == 0
    assert np.array_equal(grey(frame.loc[("fog", "severity 3"), "image"]), np.rint(255 * kept["changed"][0, 0]))
    assert np.array_equal(grey(frame.loc[("contrast", "clean"), "image"]), np.rint(255 * kept["clean"][0, 0]))


# How it looks.


def test_seeds_share_their_look_and_one_legend_entry(record: Record) -> None:
    chart = PLOTS.parse("eps-curve")
    frame = chart.frames(record)["fgsm"]
    (panel,) = chart.static("fgsm", frame).axes
    assert [text.get_text() for text in panel.get_legend().get_texts()] == ["erm (2 models)", "mixup-seed0"]
    first, second, third = panel.get_lines()
    assert first.get_color() == second.get_color() != third.get_color()
    assert panel.get_xlabel() == "eps (1/255, L-infinity)"
    assert first.get_xdata().tolist() == [0, 8]
    lines = [trace for trace in chart.interactive("fgsm", frame).data if trace.mode == "lines+markers"]
    assert [trace.showlegend for trace in lines] == [True, False, True]
    assert len({trace.legendgroup for trace in lines}) == 2
    assert "95" not in lines[0].text[1]
    assert lines[0].text[1].startswith("erm-seed0<br>eps 8/255: ")


def test_thirty_six_variants_look_different() -> None:
    found = looks.looks(map(str, range(36)))
    assert len(set(found.values())) == 36
    assert looks.looks(["a", "b", "a"])["b"] == found["1"]


def test_trust_r16_a_flag_is_seen(record: Record) -> None:
    chart = PLOTS.parse("eps-curve")
    frame = chart.frames(record)["fgsm"]
    flagged = frame.assign(flags=frame["flags"].astype(object).mask(frame["eps"].gt(0), "zero-gradients"))
    (panel,) = chart.static("fgsm", flagged).axes
    assert UNRELIABLE in [text.get_text() for text in panel.get_legend().get_texts()]
    line = next(trace for trace in chart.interactive("fgsm", flagged).data if trace.mode == "lines+markers")
    assert list(line.marker.symbol) == ["circle", "x"]
    assert f"! {UNRELIABLE} (zero-gradients)" in line.text[1]


def test_radii_that_were_written_otherwise_keep_their_unit(record: Record) -> None:
    chart = PLOTS.parse("eps-curve")
    frame = chart.frames(record)["fgsm"]
    other = frame.assign(eps=frame["eps"].mask(frame["eps"].gt(0), 0.5), norm="l2")
    other["eps_text"] = other["eps_text"].mask(other["eps"].gt(0), "0.5")
    (panel,) = chart.static("fgsm", other).axes
    assert panel.get_xlabel() == "eps (pixel units of [0, 1], L2)"
    assert panel.get_lines()[0].get_xdata().tolist() == [0, 0.5]


def test_the_usual_views(record: Record, bare: Record) -> None:
    assert strongest_attack(record) == CURVE
    assert corrupted_views(record) == ["fog@1", "fog@3", "contrast@3"]
    assert strongest_attack(bare) is None
    assert corrupted_views(bare) == []


def test_classes_that_a_record_does_not_name_are_numbers(record: Record) -> None:
    old = Record(record.folder)
    old.__dict__["run"] = {name: value for name, value in record.run.items() if name != "classes"}
    assert old.class_name(9) == "class 9"
    assert record.class_name(9) == "Ankle boot"


# Files.


def test_equal_records_give_equal_files(record: Record, tmp_path: Path) -> None:
    some = [PLOTS.parse(name) for name in ("eps-curve", "gallery-adversarial(samples=1)")]
    one, two = (write(Record(record.folder), tmp_path / name, ("svg", "png"), some) for name in ("one", "two"))
    assert [path.name for path in one] == [path.name for path in two]
    assert one[0].name == "eps-curve-fgsm.svg"
    assert len(one) == 2 * (2 + 3) == len({*one})
    for first, second in zip(one, two, strict=True):
        assert first.read_bytes() == second.read_bytes()


def test_two_figures_never_share_a_file(record: Record, tmp_path: Path) -> None:
    plot = PLOTS.parse("gallery-corruptions")
    (_, extra) = plot.frames(record).items()

    class Twice(type(plot)):  # type: ignore[misc]
        def frames(self, record: Record) -> dict[str, pd.DataFrame]:
            return {"a(b)": extra[1], "a-b": extra[1]}

    written = write(record, tmp_path, ("png",), [Twice()])
    assert [path.name for path in written] == ["gallery-corruptions-a-b.png", "gallery-corruptions-a-b-2.png"]


def test_damage_is_said(record: Record, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="is not a report folder"):
        PLOTS.parse("eps-curve").frames(replace(record, folder=tmp_path))
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "0123.safetensors").write_bytes(b"no")
    with pytest.raises(RecordError, match=r"0123.safetensors is damaged"):
        Record(tmp_path).examples("0123")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="figures="):
        write(record, tmp_path / "file")
