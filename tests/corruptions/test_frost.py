import functools
import math
from hashlib import sha256
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image

import robusteval.corruptions
from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS
from robusteval.data import DATA

RNG = Stream.seeded(0)
TEXTURES = Path(robusteval.corruptions.__file__).parent / "textures"
NAMES = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg", "frost6.jpg")
# make_cifar_c.py, make_tinyimagenet_c.py and imagecorruptions, severity 1 to 5
SHARES = {
    "cifar": ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
    "tiny-imagenet": ((1, 0.3), (0.9, 0.4), (0.8, 0.45), (0.75, 0.5), (0.7, 0.55)),
    "imagenet": ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
}


def colourful(count: int, side: int = 32) -> torch.Tensor:
    """Images [n, 3, side, side] whose channels are three pieces of clothing."""
    x = torch.nn.functional.pad(DATA.parse("fashion-mnist").split("test").first(count).batch().x, (2, 2, 2, 2))
    x = torch.cat([x, x.flip(3).roll(1, 0), x.roll(2, 0)], dim=1)
    return torch.nn.functional.interpolate(x, (side, side)).mul(255).round() / 255


def levels(x: torch.Tensor) -> np.ndarray:
    return x.mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def drawn(sample: int, severity: int, textures: int) -> tuple[int, np.ndarray]:
    """The texture of a sample and two uniform numbers for the place."""
    rng, ids = RNG.stream("corruption", "frost", severity), torch.tensor([sample])
    which = rng.stream("picture").integers(ids, (), 0, textures).item()
    return which, rng.stream("place").uniform(ids, (2,), dtype=torch.float64)[0].numpy()


@pytest.fixture(scope="module")
def read_once():
    """Functions imread and resize of OpenCV that remember what they made of each picture."""
    cv2, scaled = pytest.importorskip("cv2"), {}
    original = cv2.resize

    def resize(image, dsize, interpolation):
        key = id(image), dsize
        if key not in scaled:
            scaled[key] = original(image, dsize=dsize, interpolation=interpolation)
        return scaled[key]

    return {"imread": functools.cache(cv2.imread), "resize": resize}


@pytest.fixture
def package(read_once):
    """The package imagecorruptions, made to read and scale each picture only once."""
    package = pytest.importorskip("imagecorruptions.corruptions")
    with mock.patch.multiple("cv2", **read_once):
        yield package


def test_the_constants_are_the_originals():
    assert CORRUPTIONS.classes["frost"].families == SHARES


def test_the_textures_are_the_packages_and_their_licence_lies_beside():
    found = {name: sha256((TEXTURES / name).read_bytes()).hexdigest()[:16] for name in NAMES}
    assert list(found.values()) == [
        "ff9f907860bd7a83", "fe211a89b336999c", "2d0d50b4a9bb213f",
        "3f8b91ca1a9fa716", "5fc6a19df4a429ba", "1f92b2f484087480",
    ]  # fmt: skip
    assert "Apache License" in (TEXTURES / "LICENSE").read_text()
    assert "Dan Hendrycks" in (TEXTURES / "NOTICE").read_text()


@pytest.mark.parametrize("side", [32, 400])
@pytest.mark.parametrize("severity", range(1, 6))
def test_the_package_imagecorruptions_gives_the_same_for_the_same_numbers(package, side, severity):
    count = 20 if side == 32 else 3
    x, expected = colourful(count, side), []
    for sample, image in enumerate(levels(x)):
        which, place = drawn(sample, severity, 6)
        draws = iter([None, *place])

        def randint(low, high=None, draws=draws, which=which):
            uniform = next(draws)
            return which if uniform is None else int(uniform * high)

        with mock.patch.object(np.random, "randint", randint):
            expected.append(np.uint8(package.frost(Image.fromarray(image), severity)))
    found = levels(CORRUPTIONS.parse("frost(family='imagenet')")(x, severity, torch.arange(count), RNG))
    apart = np.abs(found.astype(int) - np.stack(expected))
    assert (apart <= 1).mean() >= 0.995
    assert (apart == 0).mean() > 0.95


@pytest.mark.parametrize(("family", "side", "factor"), [("cifar", 32, 0.2), ("tiny-imagenet", 64, 0.3)])
@pytest.mark.parametrize("severity", range(1, 6))
def test_the_formula_of_the_generators(family, side, factor, severity):
    cv2 = pytest.importorskip("cv2")
    x = colourful(30, side)
    found = levels(CORRUPTIONS.parse(f"frost(family={family!r})")(x, severity, torch.arange(30), RNG))
    image_share, frost_share = SHARES[family][severity - 1]
    textures = [cv2.imread(str(TEXTURES / name)) for name in NAMES[:5]]
    textures = [cv2.resize(texture, (0, 0), fx=factor, fy=factor) for texture in textures]
    exact = []
    for sample, image in enumerate(levels(x)):
        which, place = drawn(sample, severity, 5)
        frost = textures[which]
        top, left = (int(uniform * (size - side)) for uniform, size in zip(place, frost.shape, strict=False))
        piece = frost[top : top + side, left : left + side, ::-1]
        expected = np.uint8(np.clip(image_share * image + frost_share * piece, 0, 255))
        apart = np.abs(found[sample].astype(int) - expected)
        assert apart.max() <= 1
        exact.append((apart == 0).mean())
    # A fifth takes every fifth pixel as it is; at three tenths OpenCV rounds twice.
    assert np.mean(exact) == 1 if family == "cifar" else np.mean(exact) > 0.9


@pytest.mark.parametrize("severity", range(1, 6))
def test_it_has_the_distribution_of_the_package_imagecorruptions(package, severity):
    x = colourful(500)
    before = levels(x).astype(np.float64)
    np.random.seed(severity)  # noqa: NPY002 - the package draws from it
    theirs = np.stack([np.uint8(package.frost(Image.fromarray(image), severity)) for image in levels(x)]) - before
    ours = levels(CORRUPTIONS.parse("frost(family='imagenet')")(x, severity, torch.arange(500), RNG)) - before
    for figure in (np.mean, np.std):
        one, other = (np.array([figure(change) for change in changes]) for changes in (theirs, ours))
        error = math.sqrt((one.var() + other.var()) / 500)
        assert abs(one.mean() - other.mean()) <= max(0.03 * abs(one.mean()), 4 * error)


def test_each_texture_is_drawn_equally_often_and_the_sixth_by_imagenet_alone():
    ids, black = torch.arange(900), torch.zeros(900, 3, 32, 32)
    for family, textures in (("cifar", 5), ("tiny-imagenet", 5), ("imagenet", 6)):
        rng = RNG.stream("corruption", "frost", 1).stream("picture")
        counts = rng.integers(ids, (), 0, textures).bincount()
        assert counts.tolist() == pytest.approx([900 / textures] * textures, abs=4 * math.sqrt(900 / textures))
        frost = CORRUPTIONS.parse(f"frost(family={family!r})")(black, 1, ids, RNG)
        assert frost.flatten(1).unique(dim=0).shape[0] > 850


@pytest.mark.parametrize("family", SHARES)
def test_images_larger_than_a_texture_are_covered(family):
    black = torch.zeros(8, 3, 340, 600)
    frosty = CORRUPTIONS.parse(f"frost(family={family!r})")(black, 5, torch.arange(8), RNG)
    assert (frosty.flatten(2).amax(dim=2) > 0).all()
    assert (frosty[..., -1, :].amax(dim=(1, 2)) > 0).all()


def test_the_same_bits_at_batch_512():
    x = torch.rand(512, 3, 33, 31, generator=torch.Generator().manual_seed(0))
    for family in SHARES:
        frost = CORRUPTIONS.parse(f"frost(family={family!r})")
        whole = frost(x, 4, torch.arange(512), RNG)
        assert torch.equal(torch.cat([frost(x[i : i + 1], 4, torch.tensor([i]), RNG) for i in range(32)]), whole[:32])
