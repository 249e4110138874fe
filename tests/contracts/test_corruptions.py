"""What every corruption keeps (DESIGN 8)."""

import pytest
import torch

from robusteval.core.errors import InputError
from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS
from robusteval.data import DATA

RNG = Stream.seeded(3)
CLOTHES = DATA.parse("fashion-mnist").split("test").first(64).batch()
COLOUR = torch.stack([CLOTHES.x[:, 0], CLOTHES.x[:, 0].flip(2), CLOTHES.x[:, 0].roll(1, 0)], dim=1)
INPUTS = {"grey": CLOTHES.x, "colour": COLOUR, "8x8": CLOTHES.x[..., 8:16, 8:16]}
SOME = 16


ALL = [
    name if place == 0 else f"{name}(family={family!r})"
    for name, corruption in CORRUPTIONS.classes.items()
    for place, family in enumerate(corruption.families)
]


@pytest.fixture(params=ALL)
def corruption(request):
    return CORRUPTIONS.parse(request.param)


@pytest.fixture(params=INPUTS)
def x(request):
    return INPUTS[request.param].clone()


def test_images_stay_images(corruption, x):
    x = x[:SOME]
    before = x.clone()
    for severity in {1, corruption.severities}:
        changed = corruption(x, severity, CLOTHES.ids[:SOME], RNG)
        assert changed.shape == x.shape
        assert changed.dtype == torch.float32
        assert ((changed >= 0) & (changed <= 1)).all()
        assert torch.equal(changed, (changed * 255).round() / 255)
        assert torch.equal(x, before)


def test_the_same_bits_in_any_batch_and_order(corruption, x):
    severity = corruption.severities
    whole = corruption(x, severity, CLOTHES.ids, RNG)
    for size, rows in ((1, SOME), (7, 64)):
        pairs = zip(x[:rows].split(size), CLOTHES.ids[:rows].split(size), strict=True)
        assert torch.equal(torch.cat([corruption(part, severity, ids, RNG) for part, ids in pairs]), whole[:rows])
    order = Stream.seeded(0).permutation(torch.tensor([0]), 64)[0]
    assert torch.equal(corruption(x[order], severity, CLOTHES.ids[order], RNG), whole[order])


def test_severity_rises(corruption):
    """In colour, as saturation leaves grey images what they are."""
    severities = range(1, corruption.severities + 1 if corruption.ordered else 2)
    changes = [(corruption(COLOUR, each, CLOTHES.ids, RNG) - COLOUR).abs().mean().item() for each in severities]
    assert changes[0] > 0
    assert changes == sorted(set(changes))


def test_other_severities_are_refused(corruption):
    for severity in (0, corruption.severities + 1):
        with pytest.raises(InputError, match=rf"severity={severity}: must be in 1\.\.{corruption.severities}"):
            corruption(CLOTHES.x, severity, CLOTHES.ids, RNG)


@pytest.mark.parametrize("name", CORRUPTIONS.classes)
def test_families_and_severities(name):
    """The common corruptions have 5 severities in three families, the first of which is cifar."""
    corruption = CORRUPTIONS.classes[name]
    sizes = {family: len(constants) for family, constants in corruption.families.items()}
    assert set(sizes.values()) <= {1, 5}
    if corruption.category in ("mnist-c", "cifar10-c-bar"):
        assert list(sizes) == [corruption.category]
    else:
        assert list(sizes)[:3] == ["cifar", "tiny-imagenet", "imagenet"]
        assert [sizes[family] for family in list(sizes)[:3]] == [5, 5, 5]
