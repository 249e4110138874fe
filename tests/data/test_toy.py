import math

import pytest
import torch

from robusteval.core.errors import InputError
from robusteval.core.rng import Stream
from robusteval.data import DATA
from robusteval.data.memory import from_pair
from robusteval.data.toy import Toy
from robusteval.variants import VARIANTS

TOYS = [name for name, cls in DATA.classes.items() if issubclass(cls, Toy)]
ALL = [*TOYS, "cubes(dimension=3)", "blobs(count=5)"]


def points(spec: str, split: str = "train") -> torch.Tensor:
    """The points of a split in the paper's units, [n, d]."""
    toy = DATA.parse(spec)
    return toy.low + (toy.high - toy.low) * toy.split(split).images.flatten(1).double()


def labels(spec: str) -> torch.Tensor:
    return DATA.parse(spec).split("train").labels


def test_every_toy_is_found() -> None:
    expected = "blobs circles cubes four-bars gaussian-grid moons one-ring spirals swiss-roll"
    assert set(expected.split()) <= set(TOYS)


@pytest.mark.parametrize("spec", ALL)
def test_points_are_balanced_and_in_the_box(spec: str) -> None:
    toy = DATA.parse(spec)
    for name, size in (("train", toy.samples), ("test", 1000)):
        split = toy.split(name)
        counts = torch.bincount(split.labels, minlength=len(split.classes))
        assert len(split) == size
        assert split.shape == (3 if "3" in spec else 2, 1, 1)
        assert split.images.dtype == torch.float32
        assert counts.max() - counts.min() <= 1
        spread = split.images.flatten(1)
        assert (spread.amax(0) - spread.amin(0) > 0.3).all()


@pytest.mark.parametrize("spec", ALL)
def test_the_seed_decides_every_bit(spec: str) -> None:
    toy, other = DATA.parse(spec), DATA.parse(spec.replace(")", ", seed=1)") if "(" in spec else f"{spec}(seed=1)")
    assert torch.equal(toy.split("train").images, DATA.parse(spec).split("train").images)
    assert not torch.isin(toy.split("train").images[:, 0], other.split("train").images[:, 0]).all()


@pytest.mark.parametrize("spec", ALL)
def test_train_and_test_are_other_draws_of_one_law(spec: str) -> None:
    train, test = DATA.parse(spec).split("train"), DATA.parse(spec).split("test")
    assert not {tuple(row) for row in train.images.flatten(1).tolist()} & {
        tuple(row) for row in test.images.flatten(1).tolist()
    }
    for label in range(len(train.classes)):
        one, two = train.images[train.labels == label], test.images[test.labels == label]
        error = (one.var(0) / len(one) + two.var(0) / len(two)).sqrt()
        assert ((one.mean(0) - two.mean(0)).abs() < 5 * error).all()


@pytest.mark.parametrize("name", TOYS)
def test_more_samples_leave_the_first_as_they_are(name: str) -> None:
    few, many = (DATA.parse(f"{name}(samples={count})").split("train").images for count in (20, 50))
    assert torch.equal(few, many[:20])


def test_vectors_in_memory_keep_their_shape() -> None:
    vectors = torch.rand(4, 5, 1, 1, generator=torch.Generator().manual_seed(0))
    assert torch.equal(from_pair(vectors, torch.tensor([0, 1, 0, 1])).images, vectors)


def test_noise_outside_the_box_is_mirrored() -> None:
    toy = DATA.parse("circles")
    given = torch.tensor([-2.0, -1.0, 0.0, 2.0, 2.4, -2.4, 6.4], dtype=torch.float64)
    expected = torch.tensor([0.0, 0.25, 0.5, 1.0, 0.9, 0.1, 0.1], dtype=torch.float64)
    assert torch.allclose(toy.scaled(given), expected)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("moons(samples=1)", "samples=1: must be at least 2"),
        ("gaussian-grid(samples=8)", "samples=8: must be at least 9"),
        ("moons(noise=-0.1)", "noise=-0.1: must be at least 0"),
        ("moons(noise=4)", "noise=4.0: must be at least 0 and less than the box"),
        ("blobs(count=1)", "count=1: must be at least 2"),
    ],
)
def test_parameters_have_rules(spec: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        DATA.parse(spec)


def test_moons_are_half_circles() -> None:
    x, y = points("moons(noise=0)"), labels("moons")
    upper, lower = x[y == 0], x[y == 1] - torch.tensor([1, 0.5])
    assert torch.allclose(upper.norm(dim=1), torch.ones(500).double(), atol=1e-6)
    assert torch.allclose(lower.norm(dim=1), torch.ones(500).double(), atol=1e-6)
    assert upper[:, 1].min() >= -1e-6
    assert lower[:, 1].max() <= 1e-6


def test_circles_have_their_radii() -> None:
    x, y = points("circles(noise=0)"), labels("circles")
    assert torch.allclose(x.norm(dim=1), 1 - 0.5 * y.double(), atol=1e-6)


def test_the_noise_of_circles_is_laplacian() -> None:
    noise = (points("circles(samples=20000)") - points("circles(samples=20000, noise=0)")).flatten() / 0.02
    assert float(noise.mean()) == pytest.approx(0, abs=0.03)
    assert float(noise.abs().mean()) == pytest.approx(1, abs=0.03)
    assert float(noise.square().mean()) == pytest.approx(2, abs=0.1)


def test_the_arms_of_the_spirals_are_negations() -> None:
    x, y = points("spirals"), labels("spirals")
    assert torch.allclose(x[y == 1], -x[y == 0], atol=1e-5)


def test_the_arms_coil_twice() -> None:
    arm = points("spirals(noise=0)")[labels("spirals") == 0]
    n = arm.norm(dim=1)
    assert n.max() <= 4 * math.pi + 1e-5
    assert torch.allclose(torch.stack([-n * n.cos(), n * n.sin()], dim=1), arm, atol=1e-4)
    share = (n / (4 * math.pi)).square().sort().values
    assert (share - torch.linspace(0, 1, len(share))).abs().max() < 1.63 / math.sqrt(len(share))  # Kolmogorov, 1%


def test_the_noise_of_the_spirals_goes_up_and_is_bounded() -> None:
    moved = points("spirals") - points("spirals(noise=0)")
    arm = moved[labels("spirals") == 0]
    assert arm.min() >= -1e-5
    assert 0.45 < arm.max() <= 0.5 + 1e-5


def test_blobs_stand_on_the_unit_circle() -> None:
    x, y = points("blobs(samples=5000, count=5)"), labels("blobs(samples=5000, count=5)")
    for label in range(5):
        blob, angle = x[y == label], torch.tensor(label * math.tau / 5)
        assert torch.allclose(blob.mean(0), torch.stack([angle.cos(), angle.sin()]).double(), atol=0.03)
        assert torch.allclose(blob.std(0), torch.full((2,), 0.2).double(), atol=0.02)


def test_one_ring_has_a_ring_and_a_centre() -> None:
    x, y = points("one-ring(noise=0)"), labels("one-ring")
    assert torch.allclose(x.norm(dim=1), (y == 0).double(), atol=1e-6)


def test_four_bars_take_turns() -> None:
    x, y = points("four-bars(noise=0)"), labels("four-bars")
    bar = x[:, 0] + 1.5
    assert torch.allclose(bar, bar.round(), atol=1e-5)
    assert torch.equal(bar.round().long() % 2, y)
    assert min(torch.bincount(bar.round().long()).tolist()) > 200
    assert x[:, 1].abs().max() <= 1.5 + 1e-6


def test_the_swiss_roll_is_one_band_in_two_halves() -> None:
    x, y = points("swiss-roll(noise=0)"), labels("swiss-roll")
    t = x.norm(dim=1)
    assert torch.allclose(torch.stack([t * t.cos(), t * t.sin()], dim=1), x, atol=1e-4)
    assert t.min() >= 1.5 * math.pi - 1e-4
    assert torch.equal((t > 3 * math.pi).long(), y)
    assert t.max() <= 4.5 * math.pi + 1e-4


def test_the_grid_has_its_means_and_variance() -> None:
    x, y = points("gaussian-grid"), labels("gaussian-grid")
    for label in range(9):
        cluster = x[y == label]
        mean = torch.tensor([10.0 * (label % 3 - 1), 10.0 * (label // 3 - 1)]).double()
        assert torch.allclose(cluster.mean(0), mean, atol=0.08)
        assert torch.allclose(cluster.T.cov(), 0.1 * torch.eye(2).double(), atol=0.025)


def test_the_mix_of_two_corners_lands_between_them() -> None:
    x, y = points("gaussian-grid"), labels("gaussian-grid")
    middle = (x[y == 0].mean(0) + x[y == 8].mean(0)) / 2
    assert float((middle - x[y == 4].mean(0)).norm()) < 0.1


@pytest.mark.parametrize(("dimension", "centres"), [(2, [[-1, 0], [1, 0]]), (3, None)])
def test_cubes_lie_side_by_side(dimension: int, centres: list[list[float]] | None) -> None:
    spec = f"cubes(samples=8000, dimension={dimension})"
    x, y = points(spec), labels(spec)
    found = torch.stack([x[y == label].mean(0) for label in range(len(DATA.parse(spec).classes))])
    expected = [[a, b, c] for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)] if centres is None else centres
    assert torch.allclose(found, torch.tensor(expected).double(), atol=0.1)
    offset = x - torch.tensor(expected).double()[y]
    assert 0.99 < offset.abs().max() <= 1 + 1e-6


@pytest.mark.parametrize("name", ["one-ring", "four-bars", "swiss-roll"])
def test_k_mixup_leaves_the_manifold_the_less_the_larger_k(name: str) -> None:
    shape = DATA.parse(f"{name}(samples=4000, noise=0)").split("train").images.flatten(1)
    data = DATA.parse(f"{name}(samples=256, noise=0)").split("train")
    distances = [strayed(f"kmixup(k={k})", data.batch(), shape) for k in (1, 4, 32)]
    assert distances[0] > 1.3 * distances[1] > 1.3**2 * distances[2]


def strayed(variant: str, batch, shape: torch.Tensor) -> float:
    """The mean distance of mixed points to the shape over the same draws of lambda and order for every k."""
    mixer, rng = VARIANTS.parse(variant), Stream.seeded(0)
    mixed = [mixer.mix(batch, 2, rng.stream(step)).x.flatten(1) for step in range(10)]
    return float(torch.cdist(torch.cat(mixed), shape).amin(dim=1).mean())
