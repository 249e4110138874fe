import pytest
import torch

from robusteval.core.rng import Stream
from robusteval.data.augment import augment
from robusteval.data.dataset import Augmentation

RNG = Stream.seeded(0)
IDS = torch.arange(400) * 7
X = torch.rand(400, 3, 6, 5, generator=torch.Generator().manual_seed(0)) + 0.1


def windows(image: torch.Tensor, crop: int) -> torch.Tensor:
    """Every shift of one image by at most `crop` pixels, black where nothing is known."""
    height, width = image.shape[1:]
    shifted = []
    for down in range(-crop, crop + 1):
        for right in range(-crop, crop + 1):
            window = torch.zeros_like(image)
            for row in range(height):
                for column in range(width):
                    if 0 <= row + down < height and 0 <= column + right < width:
                        window[:, row, column] = image[:, row + down, column + right]
            shifted.append(window)
    return torch.stack(shifted)


def found_in(image: torch.Tensor, choices: torch.Tensor) -> list[int]:
    return (choices == image).flatten(1).all(dim=1).nonzero().flatten().tolist()


def test_a_crop_is_one_of_the_windows_and_every_window_occurs():
    choices = windows(X[0], 2)
    drawn = augment(X[:1].expand(400, -1, -1, -1), IDS, Augmentation(crop=2), RNG)
    places = [found_in(image, choices) for image in drawn]
    assert all(len(place) == 1 for place in places)
    assert {place[0] for place in places} == set(range(25))


def test_a_flip_is_the_mirror_image_for_half_of_the_samples():
    flipped = augment(X, IDS, Augmentation(flip=True), RNG)
    mirrored = (flipped == X.flip(3)).flatten(1).all(dim=1)
    same = (flipped == X).flatten(1).all(dim=1)
    assert (mirrored ^ same).all()
    assert 160 < mirrored.sum() < 240


def test_nothing_asked_is_nothing_done():
    assert augment(X, IDS, Augmentation(), RNG) is X


@pytest.mark.parametrize("augmentation", [Augmentation(2), Augmentation(0, True), Augmentation(1, True)])
def test_each_sample_has_its_own_draw_in_any_batch(augmentation):
    before = X.clone()
    whole = augment(X, IDS, augmentation, RNG)
    parts = [augment(x, ids, augmentation, RNG) for x, ids in zip(X.split(7), IDS.split(7), strict=True)]
    assert torch.equal(torch.cat(parts), whole)
    assert torch.equal(augment(X.flip(0), IDS.flip(0), augmentation, RNG), whole.flip(0))
    assert not torch.equal(augment(X, IDS, augmentation, RNG.stream(1)), whole)
    assert not torch.equal(augment(X, IDS + 1, augmentation, RNG), whole)
    assert torch.equal(X, before)
    assert whole.dtype == X.dtype
