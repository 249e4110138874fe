import math
from itertools import chain, combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from robusteval.core.errors import InputError
from robusteval.core.paired import (
    bootstrap_difference,
    discordant_difference,
    drawn_difference,
    holm,
    mcnemar,
    rate_difference,
    seed_difference,
)
from robusteval.core.statistics import poisson_weights


def weighted_mean(values):
    def statistic(rows):
        with np.errstate(invalid="ignore"):
            return rows @ values / rows.sum(axis=1)

    return statistic


@pytest.mark.parametrize(("first", "second"), [(0, 1), (1, 0), (3, 3), (1, 9), (12, 30), (0, 25), (400, 460)])
def test_mcnemar_is_the_binomial_test(first, second):
    assert mcnemar(first, second) == pytest.approx(stats.binomtest(first, first + second).pvalue, rel=1e-9)


def test_a_rate_difference_counts_discordant_samples():
    first = np.array([1, 1, 1, 0, 0, 1, 0, 1], dtype=bool)
    second = np.array([1, 0, 0, 0, 1, 0, 0, 1], dtype=bool)
    found = rate_difference(first, second)
    assert found == discordant_difference(3, 1, 8)
    assert found.value == pytest.approx(first.mean() - second.mean())
    assert found.p == stats.binomtest(3, 4).pvalue


def score(only_first, only_second, n, difference):
    """Tango's score by brute force: the nuisance rate is found by maximising the likelihood itself."""

    def loss(rate):
        cells = [(only_first, rate + difference), (only_second, rate), (n - only_first - only_second, 0)]
        cells[2] = (cells[2][0], 1 - 2 * rate - difference)
        return -sum(count * math.log(max(chance, 1e-300)) for count, chance in cells if count)

    low, high = max(0.0, -difference), (1 - difference) / 2
    rate = optimize.minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-12}).x
    return (only_first - only_second - n * difference) / math.sqrt(n * (2 * rate + difference * (1 - difference)))


@pytest.mark.parametrize(("first", "second", "n"), [(12, 2, 50), (0, 4, 100), (7, 9, 1000), (30, 5, 60)])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_the_interval_ends_where_the_score_does(first, second, n, level):
    found, z = discordant_difference(first, second, n, level), stats.norm.ppf(0.5 + level / 2)
    assert score(first, second, n, found.low) == pytest.approx(z, rel=1e-3)
    assert score(first, second, n, found.high) == pytest.approx(-z, rel=1e-3)


def test_degenerate_rate_differences():
    z2 = stats.norm.ppf(0.975) ** 2
    none = discordant_difference(0, 0, 100)
    assert none == pytest.approx((0, -z2 / (100 + z2), z2 / (100 + z2), 1))
    every = discordant_difference(100, 0, 100)
    assert every[:3] == pytest.approx((1, (100 - z2) / (100 + z2), 1))
    assert discordant_difference(0, 1, 1)[:2] == (-1, -1)
    for counts in ((1, 1, 1), (-1, 0, 4), (0, 0, 0)):
        with pytest.raises(InputError, match="n="):
            discordant_difference(*counts)
    with pytest.raises(InputError, match="second="):
        rate_difference([True], [True, False])


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 400))
def test_a_rate_difference_holds_its_value_and_mirrors(first, second, rest):
    n = max(1, first + second + rest)
    found, mirrored = discordant_difference(first, second, n), discordant_difference(second, first, n)
    assert -1 <= found.low <= found.value <= found.high <= 1
    assert mirrored == pytest.approx((-found.value, -found.high, -found.low, found.p), abs=1e-12)


@pytest.mark.parametrize(("n", "only_first", "only_second"), [(1000, 0.004, 0.002), (200, 0.02, 0.02), (100, 0.2, 0.1)])
def test_the_rate_interval_covers_with_few_discordant_samples(n, only_first, only_second):
    """The exact coverage, summed over all outcomes: 95% within a point or two."""
    most = 40 if n > 100 else 60
    one, other = np.meshgrid(np.arange(most + 1), np.arange(most + 1), indexing="ij")
    cells = np.stack([one, other, n - one - other], axis=-1)
    law = stats.multinomial.pmf(cells, n, [only_first, only_second, 1 - only_first - only_second])
    likely = [(a, b, law[a, b]) for a, b in np.argwhere(law > 1e-5)]
    covered = 0.0
    for a, b, chance in likely:
        _, low, high, _ = discordant_difference(int(a), int(b), n)
        covered += chance * (low <= only_first - only_second <= high)
    assert sum(chance for *_, chance in likely) > 0.995
    assert 0.93 <= covered <= 0.98


def test_mcnemar_never_rejects_too_often():
    for discordant in range(1, 60):
        law = stats.binom.pmf(range(discordant + 1), discordant, 0.5)
        rejected = [mcnemar(k, discordant - k) <= 0.05 for k in range(discordant + 1)]
        assert law[rejected].sum() <= 0.05


def test_the_bootstrap_of_a_mean_is_nearly_the_paired_t_test():
    rng = np.random.default_rng(0)
    first = rng.exponential(size=400)
    second = first + rng.normal(-0.05, 0.5, size=400)
    weights = poisson_weights(np.arange(400), 2000)
    known = stats.ttest_rel(first, second)
    interval = known.confidence_interval(0.95)
    for shape in ("percentile", "basic"):
        found = bootstrap_difference(weighted_mean(first), weighted_mean(second), weights, shape=shape)
        assert found.value == pytest.approx(first.mean() - second.mean())
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=0.01)
        assert found.p == pytest.approx(known.pvalue, rel=0.25)


def test_both_sides_are_resampled_together():
    values = np.random.default_rng(1).normal(size=50)
    weights = poisson_weights(np.arange(50), 200)
    assert bootstrap_difference(weighted_mean(values), weighted_mean(values), weights) == (0, 0, 0, 1)
    shifted = bootstrap_difference(weighted_mean(values + 1), weighted_mean(values), weights)
    assert shifted[:3] == pytest.approx((1, 1, 1))
    assert shifted.p == pytest.approx(2.0**-49)
    assert bootstrap_difference(weighted_mean(values[:1] + 1), weighted_mean(values[:1]), weights[:, :1]).p == 1


def test_the_bootstrap_rejects_no_more_than_its_level():
    rng, n, trials = np.random.default_rng(2), 60, 600
    weights = poisson_weights(np.arange(n), 300).astype(np.float64)
    differences = rng.exponential(size=(trials, n)) - rng.exponential(size=(trials, n))
    drawn = differences @ weights.T / weights.sum(axis=1)
    rejected = sum(
        drawn_difference(float(row.mean()), means, n).p <= 0.05 for row, means in zip(differences, drawn, strict=True)
    )
    assert stats.binomtest(rejected, trials, 0.05).pvalue > 1e-3


def test_a_basic_interval_moves_back_by_the_bias():
    drawn = np.random.default_rng(3).normal(0.15, 0.02, 4000)
    plain, basic = drawn_difference(0.1, drawn, 500), drawn_difference(0.1, drawn, 500, shape="basic")
    assert basic.low == pytest.approx(0.2 - np.quantile(drawn, 0.975))
    assert basic.high == max(0.1, 0.2 - np.quantile(drawn, 0.025))
    assert plain.p < basic.p == pytest.approx(2 * stats.t.sf((0.2 - drawn.mean()) / drawn.std(), 499))


@pytest.mark.parametrize("sizes", [(2, 2), (3, 3), (2, 5)])
def test_the_seed_test_is_welchs(sizes):
    rng = np.random.default_rng(sum(sizes))
    first, second = (rng.normal(place, 0.1, size) for place, size in enumerate(sizes))
    known = stats.ttest_ind(first, second, equal_var=False)
    interval = known.confidence_interval(0.9)
    found = seed_difference(first, second, 0.9)
    wanted = first.mean() - second.mean(), interval.low, interval.high, known.pvalue
    assert found == pytest.approx(wanted)


def test_seeds_without_spread_are_permuted():
    assert seed_difference([0.5, 0.5, 0.5], [0.25, 0.25, 0.25]) == pytest.approx((0.25, 0.25, 0.25, 0.1))
    assert seed_difference([0.0, 0.0], [0.0, 0.0]) == (0, 0, 0, 1)
    with pytest.raises(InputError, match="must be at least 2 on each side"):
        seed_difference([0.5], [0.2, 0.3])


@pytest.mark.parametrize("sizes", [(2, 2), (3, 3), (2, 5)])
def test_without_spread_it_is_scipys_permutation_test(sizes):
    first, second = (np.full(size, value) for size, value in zip(sizes, (0.7, 0.2), strict=True))
    known = stats.permutation_test((first, second), lambda a, b: abs(np.mean(a) - np.mean(b)), alternative="greater")
    assert seed_difference(first, second).p == pytest.approx(known.pvalue)
    assert seed_difference([0.0] * 40, [0.0] * 40).p == 1


def closed(p):
    """Holm by its definition: Bonferroni on every set of hypotheses that holds the one in question."""
    places = range(len(p))
    sets = list(chain.from_iterable(combinations(places, size) for size in range(1, len(p) + 1)))
    return [max(min(1.0, len(s) * min(p[k] for k in s)) for s in sets if place in s) for place in places]


@given(st.lists(st.floats(0, 1, allow_subnormal=False), min_size=1, max_size=6))
def test_holm_is_the_closure_of_bonferroni(p):
    assert holm(p) == pytest.approx(closed(p))


def test_holm_leaves_out_what_was_not_compared():
    assert holm([0.02, math.nan, 0.01]) == pytest.approx([0.02, math.nan, 0.02], nan_ok=True)
    assert holm([]).shape == (0,)
