from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from robusteval.core.errors import InputError, SpecError
from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS, Corruption
from robusteval.corruptions.corruption import BLOCK, Category, Families

RNG = Stream.seeded(0)
IDS = torch.arange(4)
GREY = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
# make_cifar_c.py of github.com/hendrycks/robustness, severity 1 to 5
CIFAR_C = {
    "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),
    "fog": ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
    "gaussian-noise": (0.04, 0.06, 0.08, 0.09, 0.10),
}


@pytest.mark.parametrize("name", CIFAR_C)
def test_constants_are_the_originals(name):
    assert CORRUPTIONS.classes[name].families["cifar"] == CIFAR_C[name]
    assert CORRUPTIONS.parse(name).severities == 5


@dataclass(frozen=True)
class Recorder(Corruption):
    """Shows what the author's hole is given, and returns what a test asks for."""

    name: ClassVar[str] = "recorder"
    category: ClassVar[Category] = "extra"
    families: ClassVar[Families] = {"cifar": (0.0, 0.5), "own": (0.25, 0.75)}

    def corrupt(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        assert x.dtype == torch.float64
        assert x.shape[1] == 3
        assert torch.equal(x * 255, (x * 255).round())
        assert rng == RNG.stream("corruption", "recorder", severity)
        shift = torch.tensor([0.0, 1 / 255, 1.9 / 255], dtype=torch.float64)[:, None, None]
        return x + shift + self.constants(x, severity)[0]


@dataclass(frozen=True)
class Sized(Recorder):
    """Has constants for every size."""

    name: ClassVar[str] = "sized"
    families: ClassVar[Families] = dict.fromkeys(("cifar", "tiny-imagenet", "imagenet"), (0.0, 0.5))


def test_the_result_is_cut_to_bytes_and_the_box():
    x = torch.full((1, 3, 8, 8), 100.4 / 255)
    assert Recorder()(x, 1, IDS[:1], RNG).mul(255)[0, :, 0, 0].tolist() == [100, 101, 101]
    assert Recorder()(x, 2, IDS[:1], RNG).mul(255)[0, :, 0, 0].tolist() == [227, 228, 229]
    assert Recorder()(torch.ones(1, 3, 8, 8), 2, IDS[:1], RNG).unique().tolist() == [1]


@pytest.mark.parametrize("name", CIFAR_C)
@pytest.mark.parametrize("severity", [1, 5])
def test_grey_is_the_average_of_three_channels(name, severity):
    corruption = CORRUPTIONS.parse(name)
    colour = corruption(GREY.repeat(1, 3, 1, 1), severity, IDS, RNG).mul(255).round()
    grey = corruption(GREY, severity, IDS, RNG).mul(255).round()
    assert torch.equal(grey, colour.double().mean(dim=1, keepdim=True).round().float())


@pytest.mark.parametrize("severity", [0, 6, -1])
@pytest.mark.parametrize("name", CIFAR_C)
def test_only_five_severities(name, severity):
    with pytest.raises(InputError, match=rf"^severity={severity}: must be in 1\.\.5$"):
        CORRUPTIONS.parse(name)(GREY, severity, IDS, RNG)


@pytest.mark.parametrize(("side", "family"), [(28, "cifar"), (40, "cifar"), (41, "tiny-imagenet"), (65, "imagenet")])
def test_the_family_follows_the_size(side, family):
    assert Sized().family_of(side) == family
    assert Sized("cifar").family_of(side) == "cifar"
    assert Recorder().family_of(500) == "cifar"  # the only one of its own that is meant for a size


def test_a_family_at_another_size_is_named():
    assert Sized("imagenet").misfit(32) == (
        "sized(family='imagenet'): the constants of imagenet are not meant for images of 32 px; cifar's are"
    )
    assert Sized("imagenet").misfit(224) is Sized().misfit(32) is Recorder("own").misfit(32) is None


def test_the_family_is_known_and_counts():
    with pytest.raises(SpecError, match=r"^fog has no family 'cifra': did you mean 'cifar'\?$"):
        CORRUPTIONS.parse("fog(family='cifra')")
    x = torch.zeros(1, 3, 8, 8)
    assert Recorder("own")(x, 2, IDS[:1], RNG)[0, 0, 0, 0].mul(255) == 191
    assert Recorder()(x, 2, IDS[:1], RNG)[0, 0, 0, 0].mul(255) == 127


@pytest.mark.parametrize("shape", [(4, 2, 1, 1), (4, 3, 1, 1), (4, 2, 28, 28), (4, 28, 28)])
def test_only_images_are_corrupted(shape):
    with pytest.raises(InputError, match=r"images=\(4, .*\): corruptions are of grey or colour images"):
        CORRUPTIONS.parse("fog")(torch.zeros(shape), 1, IDS, RNG)


def test_a_large_batch_goes_through_in_blocks():
    many = torch.arange(2 * BLOCK + 1)
    x = GREY[:1].expand(len(many), -1, -1, -1)
    whole = CORRUPTIONS.parse("gaussian-noise")(x, 3, many, RNG)
    for row in (0, BLOCK - 1, BLOCK, 2 * BLOCK):
        alone = CORRUPTIONS.parse("gaussian-noise")(x[:1], 3, many[row : row + 1], RNG)
        assert torch.equal(whole[row : row + 1], alone)


@dataclass(frozen=True)
class Halves(Recorder):
    """Ends between two levels."""

    name: ClassVar[str] = "halves"
    families: ClassVar[Families] = {"cifar": (0.0,), "mnist-c": (0.0,)}

    def corrupt(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        return (x * 255 + torch.tensor([0.4, 0.5, 0.5 - 1e-9], dtype=torch.float64)[:, None, None]) / 255


def test_mnist_c_is_rounded_where_the_others_are_cut():
    x = torch.full((1, 3, 8, 8), 101 / 255)
    for family, levels in (("cifar", [101, 101, 101]), ("mnist-c", [101, 102, 102])):
        assert Halves(family)(x, 1, IDS[:1], RNG).mul(255).round()[0, :, 0, 0].tolist() == levels
    assert Halves("mnist-c")(torch.ones(1, 3, 8, 8), 1, IDS[:1], RNG).unique().tolist() == [1]
