import pytest
import torch

from robusteval.attacks.patches import Patch, grid, squares, stripes
from robusteval.core.rng import Stream

RANDOM, IDS = Stream.seeded(5), torch.arange(400)


def placed(sides, height, width):
    """Patches of those sides at random places."""
    return Patch.drawn(RANDOM.uniform(torch.arange(len(sides)), (2,)), torch.tensor(sides), height, width)


def authors_hill(height, width):
    """As the authors' loops make it."""
    hill, top, left = torch.zeros(height, width), height // 2, width // 2
    for counter in range(max(height // 2, width // 2) + 1):
        rows = slice(max(top, 0), min(top + 2 * counter + 1, height))
        hill[rows, max(left, 0) : min(left + 2 * counter + 1, width)] += 1 / (counter + 1) ** 2
        top, left = top - 1, left - 1
    return hill / hill.square().sum().sqrt()


@pytest.mark.parametrize(("height", "width"), [(32, 32), (40, 30)])
def test_a_bump_is_that_of_the_authors(height, width):
    sides = list(range(2, 30))
    patch = placed(sides, height, width)
    upright, lying = (patch.bump(torch.full((len(sides),), turned)) for turned in (False, True))
    for row, side in enumerate(sides):
        hills = torch.cat([authors_hill(side // 2, side), -authors_hill(side - side // 2, side)]) / 2**0.5
        inside = patch.mask[row]
        torch.testing.assert_close(upright[row][inside].reshape(side, side), hills)
        torch.testing.assert_close(lying[row][inside].reshape(side, side), hills.T)
        assert not upright[row][~inside].any()
        assert not lying[row][~inside].any()


def test_patches_are_whole_and_lie_everywhere():
    patch = placed([3] * 400, 5, 7)
    assert (patch.mask.flatten(1).sum(dim=1) == 9).all()
    starts = {tuple(mask.nonzero()[0].tolist()) for mask in patch.mask}
    assert starts == {(top, left) for top in range(3) for left in range(5)}
    assert placed([5, 5, 5], 5, 5).mask.all()


def test_stripes_are_of_one_sign_in_a_column():
    pattern = stripes(RANDOM, IDS, torch.Size((3, 5, 7)))
    assert pattern.shape == (400, 3, 5, 7)
    assert (pattern == pattern[:, :, :1]).all()
    assert (pattern.abs() == 1).all()
    assert pattern.mean().abs() < 0.1


@pytest.mark.parametrize(("shape", "side"), [((3, 32, 32), 6), ((1, 28, 28), 5), ((3, 8, 8), 1), ((2, 20, 31), 4)])
def test_a_grid_has_25_bumps_of_norm_1_in_the_middle(shape, side):
    pattern = grid(RANDOM, IDS, torch.Size(shape))
    assert pattern.shape == (400, *shape)
    torch.testing.assert_close(squares(pattern), torch.full((400, shape[0], 1, 1), 25.0))
    used = pattern.abs().amax(dim=(0, 1)).nonzero()
    top, left = ((length - 5 * side) // 2 for length in shape[1:])
    assert used.amin(dim=0).tolist() == [top, left]
    assert used.amax(dim=0).tolist() == [top + 5 * side - 1, left + 5 * side - 1]
    assert pattern.mean(dim=0).abs().max() < 0.3


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 2, 3), (1, 4, 9)])
def test_a_grid_fits_in_a_tiny_image(shape):
    pattern = grid(RANDOM, IDS, torch.Size(shape))
    assert pattern.shape == (400, *shape)
    assert pattern.isfinite().all()
    assert pattern.flatten(1).any(dim=1).all()
