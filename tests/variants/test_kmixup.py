"""k-mixup: its matching, what it leaves to mixup, and the alpha that makes up for k (METHODS 7.1)."""

import math

import pytest
import torch
from scipy import stats
from torch.nn import functional

from robusteval.core.errors import InputError
from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.variants import VARIANTS
from robusteval.variants.kmixup import matched_alpha, squared_share

N, CLASSES = 32, 5
GENERATOR = torch.Generator().manual_seed(0)
X = torch.rand(N, 1, 8, 8, generator=GENERATOR)
BATCH = Batch(X, torch.randint(CLASSES, (N,), generator=GENERATOR), torch.arange(N) + 7)


def mixed(spec, step=0, batch=BATCH, classes=CLASSES):
    return VARIANTS.parse(spec).mix(batch, classes, Stream.seeded(0).stream("step", step))


def pairs(spec, step=0, x=X):
    """The share that each sample keeps, [n], and the squared distance to its partner, [n]; labels say who that is."""
    n = len(x)
    targets = mixed(spec, step, Batch(x, torch.arange(n), torch.arange(n)), n).targets
    own = targets.diagonal()
    partner = (targets - own.diag()).argmax(dim=1).where(own < 1, torch.arange(n))
    return own, ((x - x[partner]) ** 2).flatten(1).sum(dim=1)


def ordered(monkeypatch, order):
    """Have k-mixup go through the batch in this order."""
    monkeypatch.setattr("robusteval.variants.kmixup.random_partner", lambda batch, rng: order)


def test_halves_mix_both_ways():
    x, targets, _, _ = mixed("kmixup(k=4)")
    torch.testing.assert_close(x.sum(dim=0), BATCH.x.sum(dim=0))
    torch.testing.assert_close(targets.sum(dim=0), functional.one_hot(BATCH.y, CLASSES).float().sum(dim=0))


def test_nobody_meets_himself_and_an_odd_one_stays():
    odd = Batch(*(tensor[:31] for tensor in BATCH))
    alone = (mixed("kmixup(k=4)", batch=odd).x == odd.x).flatten(1).all(dim=1)
    assert alone.sum() == 1
    assert not (mixed("kmixup(k=4)").x == BATCH.x).flatten(1).all(dim=1).any()


def test_larger_k_moves_less():
    moved = [((mixed(f"kmixup(k={k})", step=1).x - BATCH.x) ** 2).sum().item() for k in (1, 4, 16)]
    assert moved == sorted(moved, reverse=True)


@pytest.mark.parametrize("k", [1, 2, 4, 16, 32])
def test_the_share_of_pairs_across_two_clusters_is_that_of_theory(k):
    """C(2k, k) / 4^k for two far-apart equal clusters and independent k-batches."""
    across, runs, generator = [], 400, torch.Generator().manual_seed(k)
    for step in range(runs):
        side = torch.randint(2, (2 * k,), generator=generator)
        x = (side * 1000.0 + torch.randn(2 * k, generator=generator)).reshape(-1, 1, 1, 1)
        pairs = mixed(f"kmixup(k={k})", step, Batch(x, side, torch.arange(2 * k)), 2)
        across.append((pairs.targets.amin(dim=1) > 0).float().mean().item())
    expected = math.comb(2 * k, k) / 4**k
    spread = torch.tensor(across).std().item() / math.sqrt(runs)
    assert abs(sum(across) / runs - expected) < 4 * spread


@pytest.mark.parametrize("k", [0, 17, -1])
def test_k_has_its_range(k):
    with pytest.raises(InputError, match="k="):
        mixed(f"kmixup(k={k})")


def test_with_k_one_the_halves_are_mixup_in_distribution():
    """One pair of each of many steps; the steps of the two differ, or their draws would be the same numbers."""
    ours = [[value[0].item() for value in pairs("kmixup(k=1)", step)] for step in range(600)]
    theirs = [[value[0].item() for value in pairs("mixup", step)] for step in range(1000, 1600)]
    theirs = [pair for pair in theirs if pair[1] > 0]  # the halves have no pair of a sample with itself
    for one, other in zip(zip(*ours, strict=True), zip(*theirs, strict=True), strict=True):
        assert stats.ks_2samp(one, other).pvalue > 1e-3


@pytest.mark.parametrize("alpha", [0.2, 1.0, 10.0])
def test_equal_sets_meet_themselves(monkeypatch, alpha):
    """Whatever lambda is, nothing moves: the halves hold the same images, or the batch meets its own permutation."""
    half, shuffled = X[: N // 2], torch.randperm(N // 2, generator=torch.Generator().manual_seed(1))
    twice = Batch(torch.cat([half, half[shuffled]]), BATCH.y, BATCH.ids)
    for step in range(5):
        ordered(monkeypatch, torch.arange(N))
        assert torch.equal(mixed(f"kmixup(k={N // 2}, alpha={alpha})", step, twice).x, twice.x)
        ordered(monkeypatch, torch.cat([shuffled, shuffled + N // 2]))
        spec = f"kmixup(k={N // 2}, alpha={alpha}, pairing='same-batch')"
        assert torch.equal(mixed(spec, step).x, BATCH.x)
        assert torch.equal(mixed(spec, step).targets, functional.one_hot(BATCH.y, CLASSES).float())


@pytest.mark.parametrize("k", [2, 16])
def test_matching_draws_no_lambda(k):
    for step in range(20):
        ours, theirs = (pairs(spec, step)[0] for spec in (f"kmixup(k={k})", "mixup"))
        assert ours.unique().tolist() == theirs[theirs < 1].unique().tolist()


class TestMatchedAlpha:
    @pytest.mark.parametrize(
        ("alpha", "expected"),
        [
            (0.2, 0.0298),
            (0.5, 0.0567),
            (1, 0.0833),
            (2, 0.1125),
            (4, 0.1411),
            (10, 0.1738),
            (20, 0.1934),
            (100, 0.2231),
        ],
    )
    def test_the_squared_share_is_that_of_theory(self, alpha, expected):
        assert squared_share(alpha) == pytest.approx(expected, abs=5e-5)
        draws = torch.from_numpy(stats.beta(alpha, alpha).rvs(20000, random_state=0))
        assert torch.minimum(draws, 1 - draws).square().mean().item() == pytest.approx(expected, rel=0.05)

    @pytest.mark.parametrize("alpha", [1e-3, 0.2, 1.0, 10.0])
    def test_it_is_at_least_alpha_and_makes_up_for_the_ratio(self, alpha):
        least = squared_share(alpha) / 0.25 + 0.01
        found = [matched_alpha(alpha, ratio) for ratio in torch.linspace(1, least, 9).tolist()]
        assert found[0] == alpha
        assert found == sorted(found)
        for ratio, larger in zip(torch.linspace(1, least, 9).tolist(), found, strict=True):
            assert squared_share(larger) * ratio == pytest.approx(squared_share(alpha))

    @pytest.mark.parametrize("ratio", [0.33, 0.1])
    def test_there_is_none_below_a_third(self, ratio):
        message = rf"^ratio={ratio}: must be at least 0.333\d: no larger alpha makes up for less from alpha=1.0$"
        with pytest.raises(InputError, match=message):
            matched_alpha(1.0, ratio)
        assert matched_alpha(1.0, 0.34) > 1000

    @pytest.mark.parametrize("ratio", [0.0, -1.0, 1.1, math.nan])
    def test_a_ratio_has_its_range(self, ratio):
        with pytest.raises(InputError, match=r"^ratio=.*: must be in \(0, 1\]$"):
            matched_alpha(1.0, ratio)

    @pytest.mark.parametrize("k", [4, 16])
    def test_with_it_mixed_points_lie_as_far_from_their_nearer_end(self, k):
        def moved(spec, steps):
            """The mean squared distances to the nearer end, and of the pair, [steps] each."""
            rows = []
            for step in steps:
                own, apart = pairs(spec, step, torch.randn(N, 8, 1, 1, generator=generator))
                rows.append(((torch.minimum(own, 1 - own) ** 2 * apart).mean(), apart.mean()))
            return torch.tensor(rows).T

        generator = torch.Generator().manual_seed(0)
        single, apart = moved("kmixup(k=1)", range(1000))
        _, nearer = moved(f"kmixup(k={k})", range(300))
        ratio = (nearer.mean() / apart.mean()).item()
        matched, _ = moved(f"kmixup(k={k}, alpha={matched_alpha(1.0, ratio)})", range(1000, 2000))
        unmatched, _ = moved(f"kmixup(k={k})", range(1000, 2000))
        spread = math.hypot(*(values.std().item() / math.sqrt(len(values)) for values in (single, matched)))
        assert abs(single.mean() - matched.mean()) < 4 * spread
        assert single.mean() - unmatched.mean() > 4 * spread
