from dataclasses import replace

import pytest

from robusteval.core.paired import discordant_difference
from robusteval.gate.rules import Rules
from robusteval.gate.verdict import Measured, Verdict, exit_code, judge, settling

RULES = Rules()


def row(lost: int, won: int, n: int = 1000, **more: object) -> Measured:
    """A row of accuracy in which `lost` samples are newly broken, and `won` newly right."""
    found = discordant_difference(lost, won, n)
    error = ((lost + won) / n - found.value**2) ** 0.5 / n**0.5
    known = Measured("net", "clean", "accuracy", n, 0.9 - found.value, 0.9, *found[:3], error, found.p)
    return replace(known, same=lost + won == 0, **more)  # type: ignore[arg-type]


def verdict(measured: Measured, rules: Rules = RULES) -> Verdict:
    return judge([measured], rules)[0].verdict


@pytest.mark.parametrize(
    ("lost", "won", "n", "expected"),
    [
        (0, 0, 1000, "ok"),
        (0, 0, 10, "ok"),  # no sample differs, few as they are
        (40, 10, 1000, "regressed"),
        (10, 40, 1000, "improved"),
        (1, 0, 1000, "ok"),
        (1, 0, 100, "cannot tell"),  # a point down, or four
        (30, 25, 1000, "cannot tell"),
        (200, 150, 10_000, "ok"),  # significant, and surely within the margin
        (500, 410, 10_000, "cannot tell"),  # significant, with the margin inside the interval
        (1100, 900, 10_000, "regressed"),
        (6, 0, 1000, "cannot tell"),
        (12, 0, 1000, "regressed"),
        (0, 12, 1000, "improved"),
        (0, 8, 1000, "ok"),
    ],
)
def test_a_row_alone(lost, won, n, expected):
    assert verdict(row(lost, won, n)) == expected


def test_an_interval_that_ends_at_the_margin_is_not_below_it():
    assert verdict(row(1, 0, 1000, high=0.01)) == "cannot tell"
    assert verdict(row(1, 0, 1000, high=0.00999)) == "ok"


def test_the_margin_is_the_rows_own():
    assert verdict(row(40, 10, margin=0.03)) == "cannot tell"
    assert verdict(row(40, 10, margin=0.05)) == "ok"
    assert verdict(row(12, 0, margin=0.0)) == "regressed"


def test_holm_looks_at_all_rows():
    weak = row(22, 8)
    assert weak.p == pytest.approx(0.016, abs=0.001)
    assert [found.verdict for found in judge([weak, row(30, 30)], RULES)] == ["regressed", "cannot tell"]
    rows = judge([weak, *[row(30, 30)] * 9], RULES)
    assert rows[0].verdict == "cannot tell"
    assert rows[0].adjusted == pytest.approx(10 * weak.p)
    assert rows[0].reason == "beyond the margin, but not significant over all rows"
    # A stronger one leaves Holm's line, and the others are held against a shorter one.
    assert judge([weak, row(90, 10), row(30, 30)], RULES)[0].adjusted == pytest.approx(2 * weak.p)


def test_the_level_is_of_the_rules():
    assert verdict(row(22, 8), Rules(level=0.01)) == "cannot tell"


def test_a_row_that_cannot_be_compared_is_left_out_of_holm():
    lost = Measured("net", "fog@3", "accuracy", 1000, problem="the view failed")
    rows = judge([lost, row(22, 8)], RULES)
    assert [found.verdict for found in rows] == ["not comparable", "regressed"]
    assert rows[0].reason == "the view failed"


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ([row(0, 0), row(10, 40)], 0),
        ([row(0, 0), row(40, 10)], 1),
        ([row(40, 10), Measured("net", "fog@3", "accuracy", 1000, problem="the view failed")], 2),
        ([row(0, 0), row(30, 25)], 3),
        ([row(80, 10), row(30, 25)], 1),
        ([row(30, 25), Measured("net", "fog@3", "accuracy", 1000, problem="the view failed")], 2),
        ([], 0),
    ],
)
def test_exit_code(rows, code):
    assert exit_code(judge(rows, RULES)) == code


@pytest.mark.parametrize(
    ("lost", "won", "grades", "expected"),
    [
        (0, 0, ("quick", "quick"), "ok"),
        (0, 0, ("C", "quick"), "cannot tell"),
        (10, 40, ("C", "A"), "cannot tell"),
        (40, 10, ("C", "A"), "regressed"),  # worse than the baseline even as an upper bound
        (40, 10, ("A", "C"), "cannot tell"),  # the baseline may never have been so good
        (40, 10, ("C", "C"), "cannot tell"),
        (0, 0, ("A", "C"), "cannot tell"),
    ],
)
def test_an_upper_bound_that_is_unreliable_passes_never(lost, won, grades, expected):
    found = judge([row(lost, won, grades=grades)], RULES)[0]
    assert found.verdict == expected
    assert (expected != "cannot tell") or "grade C" in found.reason
    assert verdict(row(lost, won, grades=grades), Rules(grades=("A", "B", "quick", "C"))) == verdict(row(lost, won))


def test_too_few_samples_are_not_decided():
    found = judge([row(0, 0, 50)], Rules(minimum_n=100))[0]
    assert (found.verdict, found.settle_n) == ("cannot tell", 100)
    assert verdict(row(40, 10, 100), Rules(minimum_n=100)) == "regressed"


@pytest.mark.parametrize(
    ("lost", "won", "n"),
    [(30, 25, 1000), (25, 30, 1000), (22, 10, 1000), (20, 2, 200), (18, 26, 400), (480, 400, 10_000)],
)
@pytest.mark.parametrize("others", [0, 19])
def test_as_many_samples_settle_it(lost, won, n, others):
    """With the same shares of differing samples, so many decide, and half as many do not."""
    filling = [row(50, 50, 1000, p=1.0)] * others

    def at(size: float) -> Verdict:
        return judge([row(round(lost * size / n), round(won * size / n), round(size)), *filling], RULES)[0].verdict

    found = judge([row(lost, won, n), *filling], RULES)[0]
    if found.verdict == "cannot tell":
        assert found.settle_n is not None
        assert found.settle_n > n
        assert at(found.settle_n * 1.05) != "cannot tell"
        assert found.settle_n < 2.5 * n or at(found.settle_n / 2) == "cannot tell"
    else:
        assert found.settle_n is None


def test_no_number_settles_a_difference_that_is_the_margin():
    assert settling(row(30, 20, difference=0.01), 0.05, 1) is None
