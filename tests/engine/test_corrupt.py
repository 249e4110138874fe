"""`robusteval.corrupt`: the same pixels as a view, in the caller's own type."""

import numpy as np
import pytest
import torch

import robusteval
from robusteval.core.errors import InputError, SpecError
from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS
from robusteval.data import DATA

CLOTHES = DATA.parse("fashion-mnist").split("test").first(20)
COLOUR = CLOTHES.images.repeat(1, 3, 1, 1)


def view(spec: str, severity: int, seed: int = 0, ids: torch.Tensor = CLOTHES.ids) -> torch.Tensor:
    """What an evaluation would show to a model."""
    return CORRUPTIONS.parse(spec)(CLOTHES.batch().x, severity, ids, Stream.seeded(seed))


@pytest.mark.parametrize("name", ["fog", "gaussian-noise", "jpeg-compression"])
def test_the_pixels_of_a_view(name):
    expected = view(name, 3)
    assert torch.equal(robusteval.corrupt(CLOTHES.batch().x, name, severity=3), expected)
    levels = robusteval.corrupt(CLOTHES.images, name, severity=3)
    assert levels.dtype == torch.uint8
    assert torch.equal(levels / 255, expected)


def test_family_seed_and_ids():
    found = robusteval.corrupt(CLOTHES.images, "fog", 1, family="mnist-c", seed=4, ids=(CLOTHES.ids + 7).tolist())
    assert torch.equal(found / 255, view("fog(family='mnist-c')", 1, 4, CLOTHES.ids + 7))
    assert not torch.equal(found, robusteval.corrupt(CLOTHES.images, "fog", 1, family="mnist-c"))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32, torch.float64])
def test_the_same_type_comes_out_and_the_input_stays(dtype):
    x = COLOUR if dtype == torch.uint8 else (COLOUR / 255).to(dtype)
    before = x.clone()
    changed = robusteval.corrupt(x, "contrast", 5)
    assert changed.dtype == dtype
    assert torch.equal(x, before)
    levels = changed.double() * (1 if dtype == torch.uint8 else 255)
    assert torch.equal(levels.round().byte(), robusteval.corrupt(COLOUR, "contrast", 5))
    array = robusteval.corrupt(x.numpy(), "contrast", 5)
    assert isinstance(array, np.ndarray)
    assert array.dtype == x.numpy().dtype
    assert np.array_equal(array, changed.numpy())


def test_any_number_of_images():
    assert robusteval.corrupt(COLOUR[:0], "fog", 3).shape == (0, 3, 28, 28)
    many = COLOUR.repeat(60, 1, 1, 1)
    ids = torch.arange(len(many)) // 2
    whole = robusteval.corrupt(many, "gaussian-noise", 2, ids=ids)
    assert torch.equal(whole[990:1010], robusteval.corrupt(many[990:1010], "gaussian-noise", 2, ids=ids[990:1010]))


def test_a_family_for_another_size_is_warned_of():
    with pytest.warns(RuntimeWarning, match="the constants of imagenet are not meant for images of 28 px; cifar's are"):
        robusteval.corrupt(COLOUR, "contrast", 1, family="imagenet")


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"images": COLOUR.float()}, InputError, "must be finite and in [0, 1]; divide by 255, or pass uint8"),
        ({"images": COLOUR / 255 - 0.5}, InputError, "images='[-0.5, 0.5]': must be finite and in [0, 1]"),
        ({"images": COLOUR / 255 * torch.nan}, InputError, "images='[nan, nan]': must be finite"),
        ({"images": COLOUR.int()}, InputError, "images='torch.int32': must be uint8 or floats in [0, 1]"),
        ({"images": COLOUR.int().numpy()}, InputError, "images='int32': must be uint8 or floats"),
        ({"images": COLOUR.numpy().astype(np.uint16)}, InputError, "must be uint8 or floats"),
        ({"images": [1]}, InputError, "images='list': must be a tensor or an array"),
        ({"images": COLOUR[0]}, InputError, "corruptions are of grey or colour images"),
        ({"images": COLOUR.permute(0, 2, 3, 1)}, InputError, "corruptions are of grey or colour images"),
        ({"images": COLOUR[:0], "severity": 6}, InputError, "severity=6: must be in 1..5"),
        ({"severity": 0}, InputError, "severity=0: must be in 1..5"),
        ({"severity": 6}, InputError, "severity=6: must be in 1..5"),
        ({"severity": 2.5}, InputError, "severity=2.5: must be in 1..5"),
        ({"corruption": "zigzag", "severity": 2}, InputError, "severity=2: must be in 1..1"),
        ({"family": "cifra"}, SpecError, "fog has no family 'cifra': did you mean 'cifar'?"),
        ({"corruption": "fogg"}, SpecError, "unknown corruption 'fogg': did you mean 'fog'"),
        ({"ids": [1, 2]}, InputError, "ids=(2,): must have shape [20]"),
        ({"ids": CLOTHES.ids / 2}, InputError, "ids='torch.float32': must be integers"),
    ],
)
def test_bad_input_has_one_clear_line(changes, error, said):
    with pytest.raises(error) as caught:
        robusteval.corrupt(**{"images": COLOUR, "corruption": "fog", "severity": 3, **changes})
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
