import numpy as np
import pytest
import torch
from scipy import stats

from robusteval.core.rng import Stream

IDS = torch.arange(20_000)
RNG = Stream.seeded(0).stream("test")
ALPHA = 1e-4  # the numbers are fixed: this is how unlucky a fixed draw may look, once

KNOWN = {
    "key": 1000401427390619767,
    "words": [
        [-4231284227463784207, 5561465489287756915],
        [4406012013488773279, -2594425724522394405],
        [-8096780542547715199, 8186738975801737542],
        [-5936374306621990859, -8368534087709371180],
    ],
    "draw": -8425119041530387107,
    "uniform": 0.709185779094696,
    "normal": -0.0437448,
    "integers": [58, 74, 73, 73],
    "permutation": [3, 0, 1, 2, 4, 5],
    "poisson": [1, 2, 0, 1, 0, 1],
}

DRAWS = {
    "words": lambda rng, ids, draw=0: rng.words(ids, 3, draw),
    "uniform": lambda rng, ids, draw=0: rng.uniform(ids, (3, 5), draw),
    "uniform64": lambda rng, ids, draw=0: rng.uniform(ids, (3,), draw, torch.float64),
    "scalar": lambda rng, ids, draw=0: rng.uniform(ids, (), draw),
    "normal": lambda rng, ids, draw=0: rng.normal(ids, (3, 5), draw),
    "integers": lambda rng, ids, draw=0: rng.integers(ids, (4,), -3, 9, draw),
    "permutation": lambda rng, ids, draw=0: rng.permutation(ids, 7, draw),
    "poisson": lambda rng, ids, draw=0: rng.poisson(ids, (4,), 1.0, draw),
    "beta": lambda rng, ids, draw=0: rng.beta(ids, (4,), 0.3, 2.0, draw),
}
each_draw = pytest.mark.parametrize("draws", DRAWS.values(), ids=DRAWS)


def test_the_stream_never_changes():
    """Known answers: another stream would silently make every stored number another run's."""
    words = Stream.seeded(0).stream("attack", "pgd", 2).words(torch.tensor([0, 1, 9999, -1]), 2)
    assert words.tolist() == KNOWN["words"]
    assert RNG.words(torch.tensor([5]), 1, draw=3).item() == KNOWN["draw"]
    assert Stream.seeded(7).key == KNOWN["key"]
    assert RNG.uniform(torch.tensor([5])).item() == KNOWN["uniform"]
    assert RNG.normal(torch.tensor([5])).item() == pytest.approx(KNOWN["normal"], abs=1e-6)
    assert RNG.integers(torch.tensor([5]), (4,), 0, 100).tolist() == [KNOWN["integers"]]
    assert RNG.permutation(torch.tensor([5]), 6).tolist() == [KNOWN["permutation"]]
    assert RNG.poisson(torch.tensor([5]), (6,)).tolist() == [KNOWN["poisson"]]


@each_draw
def test_numbers_belong_to_the_sample(draws):
    ids = IDS[:64] * 37 + 5
    whole, order = draws(RNG, ids), torch.arange(63, -1, -1)
    assert torch.equal(draws(RNG, ids[order]), whole[order])
    assert torch.equal(torch.cat([draws(RNG, part) for part in ids.split(7)]), whole)
    assert torch.equal(draws(RNG, ids[11:12])[0], whole[11])
    assert draws(RNG, ids[:0]).shape == (0, *whole.shape[1:])
    assert torch.equal(ids, IDS[:64] * 37 + 5)


@each_draw
def test_draws_paths_and_seeds_differ(draws):
    ids = IDS[:200]
    whole = draws(RNG, ids)
    for other in (
        draws(RNG, ids, 1),
        draws(RNG, ids, -1),
        draws(RNG.stream("x"), ids),
        draws(Stream.seeded(1).stream("test"), ids),
        draws(RNG, ids + 200),
    ):
        assert other.dtype == whole.dtype
        assert not torch.equal(other, whole)


@each_draw
def test_a_draw_may_be_one_number_or_one_for_each_sample(draws):
    ids, draw = IDS[:6], torch.tensor([0, 3, 1, 0, 2**40, 3])
    each = torch.cat([draws(RNG, ids[row : row + 1], int(draw[row])) for row in range(6)])
    assert torch.equal(draws(RNG, ids, draw), each)
    assert torch.equal(draws(RNG, ids, torch.tensor(3)), draws(RNG, ids, 3))


@each_draw
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_the_gpu_draws_the_same_numbers(draws):
    here, there = draws(RNG, IDS[:999]), draws(RNG, IDS[:999].cuda())
    assert there.is_cuda
    torch.testing.assert_close(there.cpu(), here, rtol=0, atol=1e-6 if draws is DRAWS["normal"] else 0)


def test_streams_are_values():
    assert RNG == Stream.seeded(0).stream("test") != RNG.stream("test")
    paths = [("a", "b"), ("ab",), ("a", 1), ("a", "1"), ("a1",), (1,), ("1",), (), ("a",)]
    assert len({RNG.stream(*path).key for path in paths}) == len(paths)


LAWS = {
    "uniform": (lambda: RNG.uniform(IDS), stats.uniform()),
    "of one sample": (lambda: RNG.uniform(IDS[:1], (20_000,)), stats.uniform()),
    "float64": (lambda: RNG.uniform(IDS, (), 0, torch.float64), stats.uniform()),
    "over draws": (lambda: RNG.uniform(torch.zeros_like(IDS), (), IDS), stats.uniform()),
    "over streams": (lambda: torch.cat([RNG.stream(k).uniform(IDS[:1]) for k in range(5000)]), stats.uniform()),
    "over seeds": (lambda: torch.cat([Stream.seeded(k).uniform(IDS[:1]) for k in range(5000)]), stats.uniform()),
    "sparse ids": (lambda: RNG.uniform(IDS * 65_536), stats.uniform()),
    "negative ids": (lambda: RNG.uniform(-IDS), stats.uniform()),
    "normal, even": (lambda: RNG.normal(IDS, (2,))[:, 0], stats.norm()),
    "normal, odd": (lambda: RNG.normal(IDS, (3,)), stats.norm()),
    "beta(1, 1)": (lambda: RNG.beta(IDS, (), 1.0, 1.0), stats.uniform()),
    "beta(0.2, 0.2)": (lambda: RNG.beta(IDS, (), 0.2, 0.2), stats.beta(0.2, 0.2)),
    "beta(2, 5)": (lambda: RNG.beta(IDS, (), 2.0, 5.0), stats.beta(2, 5)),
}


@pytest.mark.parametrize(("draw", "law"), LAWS.values(), ids=LAWS)
def test_numbers_follow_their_law(draw, law):
    values = draw().double().flatten().numpy()
    assert stats.kstest(values, law.cdf).pvalue > ALPHA


PAIRS = {
    "neighbouring ids": lambda: (RNG.uniform(IDS), RNG.uniform(IDS + 1)),
    "neighbouring draws": lambda: (RNG.uniform(IDS), RNG.uniform(IDS, draw=1)),
    "id and draw swapped": lambda: (RNG.uniform(IDS, draw=7), RNG.uniform(torch.full_like(IDS, 7), draw=IDS)),
    "neighbouring numbers": lambda: RNG.uniform(IDS, (2,)).T,
    "neighbouring paths": lambda: (RNG.stream(0).uniform(IDS), RNG.stream(1).uniform(IDS)),
    "parent and child": lambda: (RNG.uniform(IDS), RNG.stream("a").uniform(IDS)),
    "neighbouring seeds": lambda: (Stream.seeded(0).uniform(IDS), Stream.seeded(1).uniform(IDS)),
    "halves of a normal pair": lambda: torch.special.ndtr(RNG.normal(IDS, (2,))).T,
}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_numbers_are_independent(pair):
    first, second = (values.numpy() for values in pair())
    cells, _, _ = np.histogram2d(first, second, bins=12, range=[[0, 1], [0, 1]])
    assert stats.chisquare(cells.ravel()).pvalue > ALPHA


def test_every_bit_is_fair_and_moves_alone():
    bits = ((RNG.words(IDS, 1) >> torch.arange(64)) & 1).double()
    sigma = 0.5 / len(IDS) ** 0.5
    assert (bits.mean(dim=0) - 0.5).abs().max() < 4.5 * sigma
    changed = ((RNG.words(IDS, 1) ^ RNG.words(IDS ^ 1, 1)) >> torch.arange(64) & 1).double()
    assert (changed.mean(dim=0) - 0.5).abs().max() < 4.5 * sigma * 2**0.5
    correlation = torch.corrcoef(bits.T).fill_diagonal_(0)
    assert correlation.abs().max() < 5.5 / len(IDS) ** 0.5


def test_uniforms_stay_below_one():
    for dtype, bits in ((torch.float32, 24), (torch.float64, 53)):
        values = RNG.uniform(IDS, (50,), dtype=dtype)
        assert values.dtype == dtype
        assert values.min() >= 0
        assert values.max() < 1
        assert torch.equal(values * 2.0**bits, (values * 2.0**bits).round())


def counted(values: torch.Tensor, size: int) -> np.ndarray:
    return torch.bincount(values.flatten(), minlength=size).numpy()


def test_permutations_are_permutations_and_uniform():
    drawn = RNG.permutation(IDS, 4)
    assert torch.equal(drawn.sort(dim=1).values, torch.arange(4).expand(len(IDS), 4))
    codes = (drawn * torch.tensor([64, 16, 4, 1])).sum(dim=1)
    counts = counted(codes, 256)
    assert (counts > 0).sum() == 24
    assert stats.chisquare(counts[counts > 0]).pvalue > ALPHA


def test_integers_are_uniform_in_their_range():
    drawn = RNG.integers(IDS, (2,), -3, 10)
    assert (drawn.min(), drawn.max()) == (-3, 9)
    assert stats.chisquare(counted(drawn + 3, 13)).pvalue > ALPHA


@pytest.mark.parametrize("rate", [0.3, 1.0, 60.0])
def test_poisson_numbers_follow_their_law(rate):
    drawn = RNG.poisson(IDS, (2,), rate).flatten()
    low, high = stats.poisson.ppf([0.001, 0.999], rate).astype(int)
    inside = stats.poisson.pmf(np.arange(low, high + 1), rate)
    expected = np.array([stats.poisson.cdf(low - 1, rate), *inside, stats.poisson.sf(high, rate)])
    counts = counted(drawn.clamp(low - 1, high + 1) - (low - 1), high - low + 3)
    kept = expected > 0
    assert counts[~kept].sum() == 0
    assert stats.chisquare(counts[kept], expected[kept] * len(drawn)).pvalue > ALPHA


@pytest.mark.parametrize("alpha", [1e-3, 0.05, 1.0, 1000.0])
def test_beta_numbers_are_shares(alpha):
    values = RNG.beta(IDS[:2000], (), alpha, alpha)
    assert values.dtype == torch.float64
    assert ((values >= 0) & (values <= 1)).all()


def test_nothing_global_is_drawn_from():
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002 - this is what must not move
    for draws in DRAWS.values():
        draws(RNG, IDS[:3])
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()  # noqa: NPY002
