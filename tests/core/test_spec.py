import copy
import math
import pickle
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robusteval.core.errors import SpecError
from robusteval.core.spec import Quotient, Spec, form, split

numbers = st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False)
part = st.integers(1, 10**6).map(str) | st.floats(1e-30, 1e30).map(repr)
quotients = st.builds(lambda sign, *parts: Quotient(sign + parts[0], parts[1]), st.sampled_from(["", "-"]), part, part)
scalars = numbers | quotients | st.booleans() | st.none() | st.text()
literals = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=6)
names = st.from_regex(r"[a-z]([a-z0-9]|-[a-z])*", fullmatch=True)
keys = st.sampled_from(["eps", "steps", "step", "norm", "restarts", "alpha"])
specs = st.builds(
    Spec, names, st.dictionaries(keys, literals, max_size=4).map(lambda found: tuple(found.items())), st.none() | names
)


@given(specs)
def test_the_canonical_text_reads_back(spec):
    again = Spec.parse(str(spec))
    assert again == spec
    assert str(again) == str(spec)


@given(st.lists(specs, max_size=4))
def test_a_comma_list_is_split_outside_brackets_and_quotes(found):
    texts = [str(spec) for spec in found]
    assert split(", ".join(texts)) == texts
    assert split(",".join(texts) + " ,") == texts


def read(text: str) -> Spec | SpecError:
    try:
        return Spec.parse(text)
    except SpecError as error:
        return error


@given(st.text(alphabet="pgd(=,)'\"[]{}/-+*.:#\\\n 0178eßx_@!"))
def test_any_text_is_a_spec_or_an_error_of_one_line(text):
    match read(text):
        case Spec() as spec:
            assert Spec.parse(str(spec)) == spec
        case error:
            assert len(str(error).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("fgsm", Spec("fgsm")),
        (" fgsm ( ) ", Spec("fgsm")),
        ("torchvision:resnet18", Spec("resnet18", provider="torchvision")),
        ("python:my.package.net(a=1)", Spec("my.package.net", (("a", 1),), "python")),
        ("a(b=[1, (2, 'x')], c=-1.5e3, d=None)", Spec("a", (("b", (1, (2, "x"))), ("c", -1500.0), ("d", None)))),
        ("a(b=8/255)", Spec("a", (("b", 8 / 255),))),
        ("a(b=-8/255)", Spec("a", (("b", -8 / 255),))),
        (r"a(path='C:\data')", Spec("a", (("path", r"C:\data"),))),
    ],
)
def test_forms(text, spec):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Spec.parse(text) == spec


HINT = "expected name or name(key=value, ...)"
INSIDE = "the part in brackets must read key=value, key=value"
ALLOWED = "a number, quotient, string, True, False, None or tuple"
NO_LITERALS = [
    *(
        "1/0",
        "1/0.0",
        "1/2/3",
        "'a'/2",
        "True/2",
        "1e308/1e-308",
        "1e999",
        "-1e999",
        "1+1",
        "1*2",
        "+1",
        "-True",
        "--1",
    ),
    *("1j", "b'x'", "f'{1}'", "...", "{1}", "{1:2}"),
    *("9" * 400, "0x" + "f" * 400, "-" * 900 + "1", "1+" * 900 + "1"),
    *("__import__('os').system('true')", "().__class__", "[x for x in (1,)]", "lambda: 1"),
]
NAMED = "every argument needs its name, as in name(key=value)"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        *((text, HINT) for text in ("", "8pgd", "pgd(", "pgd)", "a:b:c", "pgd(a=1)x", ":pgd", "pgd: x", "pgd eps=1")),
        *((f"pgd({inside})", INSIDE) for inside in ("a=", "a=1 b=2", "a=1#", "a=1)(b=2", "a=1).x(b=2", "a=1) or (2")),
        *((f"pgd({inside})", INSIDE) for inside in ("(" * 999, "a=\0", "a=1 if 2 else 3)[0](b=4")),
        *((f"pgd({inside})", NAMED) for inside in ("1", "*a", "**a", "a==1", "8/255, steps=2", "x for x in y")),
        ("pgd(a=1, a=2)", "parameter 'a' is given twice"),
        ("t:pgd(a=1, a=2)", "parameter 'a' is given twice"),
        ("pgd(norm=linf)", "text needs quotes, as in 'linf'"),
        ("pgd(a=true)", "write True with a capital letter"),
        *((f"pgd(a={value})", f"{value!r} is not {ALLOWED}") for value in NO_LITERALS),
    ],
)
def test_malformed_text_is_said_in_one_line(text, said):
    with pytest.raises(SpecError) as caught:
        Spec.parse(text)
    assert str(caught.value) == f"spec {text!r}: {said}"
    assert len(str(caught.value).splitlines()) == 1


def test_a_quotient_is_its_number_and_its_text():
    quotient = Spec.parse("a(eps = 8 / 255)").arguments[0][1]
    assert isinstance(quotient, float)
    assert quotient == 8 / 255
    assert hash(quotient) == hash(8 / 255)
    assert (str(quotient), repr(quotient), f"{quotient}") == ("8/255",) * 3
    assert math.isclose(2 * quotient, 16 / 255)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_a_quotient_keeps_its_text_when_copied(again):
    quotient = Quotient("-8", "255")
    assert type(again(quotient)) is Quotient
    assert repr(again(quotient)) == "-8/255"
    assert again(Spec("a", (("eps", quotient),))) == Spec("a", (("eps", quotient),))


def test_form_leaves_out_empty_brackets():
    assert form("erm", []) == "erm"
    assert form("mixup", [("alpha", 0.2), ("mode", "a,b")]) == "mixup(alpha=0.2, mode='a,b')"
