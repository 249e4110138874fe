import pytest

from robusteval.core import errors
from robusteval.core.errors import InputError, RobustevalError, nearest, require


def test_the_docstring_lists_every_error():
    children = {cls.__name__ for cls in RobustevalError.__subclasses__() if cls.__module__ == errors.__name__}
    listed = {line.split()[1] for line in errors.__doc__.splitlines() if "──" in line}
    assert children == listed


@pytest.mark.parametrize(
    ("value", "choices", "said"),
    [
        ("gaussian-nose", ["fog", "gaussian-noise"], "did you mean 'gaussian-noise'?"),
        ("ste", ["steps", "step"], "did you mean 'step' or 'steps'?"),
        ("xyz", {"fog", "contrast"}, "choose from contrast, fog"),
        ("xyz", [], "there is none to choose from"),
    ],
)
def test_the_nearest_choices_are_named(value, choices, said):
    assert nearest(value, choices) == said


def test_require_says_argument_value_and_rule():
    require(True, "eps", "must be at most 1", 0.5)
    with pytest.raises(InputError, match=r"^eps=8: must be at most 1$"):
        require(False, "eps", "must be at most 1", 8)
