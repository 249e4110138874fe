import pytest

from robusteval.core.errors import InputError
from robusteval.gate.rules import Rules


def test_accuracy_of_every_view_and_ece_of_the_clean_one_are_gated():
    rules = Rules()
    gates = [rules.gate(*place) for place in (("pgd(eps=8/255)", "accuracy"), ("clean", "ece"), ("fog@3", "ece"))]
    assert [gate and gate.margin for gate in gates] == [0.01, 0.01, None]
    assert rules.gate("clean", "nll") is None
    assert (rules.level, rules.grades) == (0.05, ("A", "B", "quick"))


def test_a_file_says_all_of_it(tmp_path):
    path = tmp_path / "rules.toml"
    path.write_text(
        'level = 0.01\nminimum_n = 500\ngrades = ["A"]\n'
        '[[gates]]\nviews = ["pgd(eps=[*", "fog@?"]\nmetrics = ["accuracy", "brier"]\nmargin = 0.02\n'
        '[[gates]]\nmetrics = ["accuracy", "gamma"]\nmargin = 0.3\nbetter = "lower"\n'
    )
    rules = Rules.read(path)
    assert (rules.level, rules.minimum_n, rules.grades) == (0.01, 500, ("A",))
    assert rules.metrics == ("accuracy", "brier", "gamma")
    margins = [rules.gate(view, "accuracy").margin for view in ("pgd(eps=[1/255, 2/255])", "fog@3", "fog@33", "clean")]
    assert margins == [0.02, 0.02, 0.3, 0.3], "the first gate that holds a row decides"
    assert rules.gate("linearity", "gamma").sign("gamma") == 1


def test_the_direction_is_the_metrics_own():
    gate = Rules().gates[0]
    assert (gate.sign("accuracy"), gate.sign("ece")) == (-1, 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("margins = 1", "line 1: margins: Extra inputs are not permitted; did you mean 'margin'"),
        ("level = 0.7", "line 1: level: Input should be less than 0.5"),
        ('grades = ["D"]', "line 1: grades.0"),
        ('[[gates]]\nmetrics = ["gama"]', "'gama' is no registered metric: say better"),
        ('[[gates]]\nmetrics = ["nll"]\nmargin = -1', "line 3: gates.0.margin"),
        ("[[gates]", "line 1"),
    ],
)
def test_what_a_file_gets_wrong_is_named_with_its_line(tmp_path, text, said):
    path = tmp_path / "rules.toml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        Rules.read(path)
    assert said in str(error.value)
    assert str(path) in str(error.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="there is no such file"):
        Rules.read(tmp_path / "rules.toml")
