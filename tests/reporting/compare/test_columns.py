import pandas as pd
import pytest

from robusteval.core.errors import InputError
from robusteval.reporting.compare.columns import Catalogue, Column
from robusteval.results.schema import metric_frame

PGD = "pgd(eps=8/255, steps=10)"
CURVE = "apgd(eps=(1/255, 2/255))"
VIEWS = {
    "clean": ("clean", "clean", ("accuracy", "ece", "ece after temperature", "nll")),
    "fgsm(eps=8/255)": ("attack", "fgsm", ("accuracy", "ece", "linf")),
    PGD: ("attack", "pgd", ("accuracy", "ece", "linf")),
    "fog@3": ("corruption", "fog", ("accuracy", "ece")),
    "contrast@3": ("corruption", "contrast", ("accuracy", "ece")),
    "plasma@3": ("corruption", "plasma", ("accuracy",)),
    "linearity": ("linearity", "linearity", ("gamma",)),
}


def frame(*without: str) -> pd.DataFrame:
    rows = [
        {"model": "net", "view": view, "kind": kind, "component": component, "metric": metric, "value": 0.5}
        for view, (kind, component, metrics) in VIEWS.items()
        for metric in metrics
        if view not in without
    ]
    for eps in ("1/255", "2/255"):
        rows.append({"model": "net", "view": CURVE, "kind": "attack", "component": "apgd", "metric": "accuracy"})
        rows[-1] |= {"eps_text": eps, "value": 0.5}
    return metric_frame(rows)


CATALOGUE = Catalogue(frame())


@pytest.mark.parametrize(
    ("text", "label", "views", "metric"),
    [
        ("clean", "clean", ("clean",), "accuracy"),
        ("clean:ece", "ece", ("clean",), "ece"),
        ("ece", "ece", ("clean",), "ece"),
        ("ece  after temperature", "ece after temperature", ("clean",), "ece after temperature"),
        (f"{PGD}:ece", f"ece, {PGD}", (PGD,), "ece"),
        ("pgd(eps = 8/255,steps=10)", PGD, (PGD,), "accuracy"),
        ("pgd( eps=8/255, steps=10 ) : linf", f"linf, {PGD}", (PGD,), "linf"),
        ("pgd", PGD, (PGD,), "accuracy"),
        ("fog", "fog@3", ("fog@3",), "accuracy"),
        ("fog:ece", "ece, fog@3", ("fog@3",), "ece"),
        ("fog@3:ece", "ece, fog@3", ("fog@3",), "ece"),
        ("gamma", "gamma", ("linearity",), "gamma"),
        ("linearity", "gamma", ("linearity",), "gamma"),
    ],
)
def test_a_name_finds_its_column(text: str, label: str, views: tuple[str, ...], metric: str) -> None:
    assert CATALOGUE.chosen([text])[-1] == Column(label, views, metric)


@pytest.mark.parametrize("column", [*CATALOGUE.preset("paper")[0], *CATALOGUE.preset("accuracy")[0]])
def test_every_column_has_a_name_that_finds_it(column: Column) -> None:
    assert column in CATALOGUE.chosen([column.name])


def test_clean_accuracy_stands_beside_accuracy_under_attack() -> None:
    assert [column.label for column in CATALOGUE.chosen(["pgd"])] == ["clean", PGD]
    assert [column.label for column in CATALOGUE.chosen(["pgd", "clean", "pgd"])] == [PGD, "clean"]
    assert [column.label for column in CATALOGUE.chosen([f"{PGD}:ece"])] == [f"ece, {PGD}"]


def test_a_curve_has_a_column_for_each_radius() -> None:
    labels = ["apgd at 1/255", "apgd at 2/255"]
    assert [column.label for column in CATALOGUE.chosen(["apgd"])][1:] == labels
    assert CATALOGUE.chosen([f"{CURVE} at 1/255"])[1] == Column(labels[0], (CURVE,), "accuracy", "1/255")


def test_curves_that_share_a_radius_have_labels_of_their_own() -> None:
    other = "apgd(eps=(2/255, 4/255))"
    rows = [
        {"model": "net", "view": view, "kind": "attack", "component": "apgd", "metric": "accuracy", "eps_text": eps}
        for view, radii in ((CURVE, ("1/255", "2/255")), (other, ("2/255", "4/255")))
        for eps in radii
    ]
    labels = [
        column.label for column in Catalogue(metric_frame([{**row, "value": 0.5} for row in rows])).chosen(["apgd"])
    ]
    assert labels == ["apgd at 1/255", f"{CURVE} at 2/255", f"{other} at 2/255", "apgd at 4/255"]


def test_corruptions_are_averaged_by_kind() -> None:
    found = CATALOGUE.chosen(["corruptions"])
    assert found[0] == Column("mean of 2 corrupted", ("fog@3", "contrast@3"), "accuracy")
    assert [column.views for column in found[1:]] == [("plasma@3",)], "a corruption of another set stands apart"


def test_the_preset_of_papers_says_what_is_missing() -> None:
    columns, missing = CATALOGUE.preset("paper")
    wanted = [
        "clean",
        "fgsm(eps=8/255)",
        PGD,
        "mean of 2 corrupted",
        "plasma@3",
        "ece",
        "ece after temperature",
        "gamma",
    ]
    assert [column.label for column in columns] == wanted
    assert missing == ["AutoAttack"]
    assert Catalogue(frame("linearity", PGD)).preset("paper")[1] == ["PGD", "AutoAttack", "gamma"]
    labels = [column.label for column in CATALOGUE.preset("calibration")[0]]
    assert labels == ["ece", "ece after temperature", "nll", *(f"ece, {v}" for v in (*list(VIEWS)[1:5],))]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("claen", "columns='claen': no view or metric of the report; did you mean 'clean'?"),
        ("pgd:gamma", f"the view {PGD} has no metric 'gamma'; choose from accuracy, ece, linf"),
        ("clean:ecee", "the view clean has no metric 'ecee'; did you mean 'ece'?"),
        ("linf", "columns='linf': 2 views have it; name one, as in 'fgsm(eps=8/255):linf'"),
        ("pgd(eps=4/255, steps=10)", "did you mean"),
        (f"{CURVE} at 3/255", "no view or metric of the report"),
    ],
)
def test_another_name_is_answered_with_the_nearest(text: str, said: str) -> None:
    with pytest.raises(InputError) as error:
        CATALOGUE.chosen([text])
    assert said in str(error.value)


def test_presets_that_do_not_fit() -> None:
    with pytest.raises(InputError, match="preset='papers': did you mean 'paper'"):
        CATALOGUE.preset("papers")
    with pytest.raises(InputError, match="the report has none of its columns"):
        Catalogue(frame(*VIEWS).query("view == 'none'")).preset("paper")


def test_direction_and_unit_come_from_the_metric() -> None:
    directions = {name: Column(name, ("clean",), name).higher_is_better for name in ("accuracy", "ece", "nll", "gamma")}
    assert directions == {"accuracy": True, "ece": False, "nll": False, "gamma": False}
    assert Column("x", ("clean",), "ece after temperature").higher_is_better is False
    assert Column("x", ("clean",), "linf").higher_is_better is None
    assert [Column("x", ("clean",), name).percent for name in ("accuracy", "ece", "nll", "gamma")] == [
        *(True, True),
        *(False, False),
    ]
