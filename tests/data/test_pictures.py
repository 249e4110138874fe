import io
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, functional

from robusteval.core.errors import DataError, InputError
from robusteval.data.pictures import decoded

COLOUR = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 61, 3), dtype=np.uint8))


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


def test_many_pictures_stay_in_order() -> None:
    levels = [n % 256 for n in range(600)]
    pictures = [(str(n), encoded(Image.new("L", (2, 1), level))) for n, level in enumerate(levels)]
    images = decoded(iter(pictures), 600)
    assert images.shape == (600, 1, 1, 2)
    assert images[:, 0, 0, 1].tolist() == levels


def test_pictures_are_read_as_they_are_needed() -> None:
    def endless() -> Iterator[tuple[str, bytes]]:
        while True:
            yield "one", encoded(COLOUR)

    assert decoded(endless(), 3).shape == (3, 3, 40, 61)


def test_grey_among_colour_becomes_colour() -> None:
    grey = COLOUR.convert("L")
    pictures = [("a", encoded(grey)), ("b", encoded(COLOUR)), ("c", encoded(grey))]
    images = decoded(pictures, 3)
    assert torch.equal(images[1], functional.pil_to_tensor(COLOUR))
    for row in (0, 2):
        assert torch.equal(images[row], functional.pil_to_tensor(grey).expand(3, -1, -1))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_every_8_bit_mode_is_read(mode: str) -> None:
    images = decoded([("a", encoded(COLOUR.convert(mode)))], 1)
    assert images.shape == (1, 1 if mode in ("1", "L", "LA") else 3, 40, 61)


def test_a_palette_with_transparency_does_not_warn() -> None:
    palette, stream = COLOUR.convert("P"), io.BytesIO()
    palette.save(stream, "PNG", transparency=bytes(range(256)))
    expected = functional.pil_to_tensor(palette.convert("RGB"))
    assert torch.equal(decoded([("a", stream.getvalue())], 1)[0], expected)


@pytest.mark.parametrize("shape", [(61, 40), (40, 61), (33, 32), (32, 32), (20, 31)])
@pytest.mark.parametrize("size", [16, 32])
def test_resizing_is_torchvisions(shape: tuple[int, int], size: int) -> None:
    image = COLOUR.resize(shape)
    expected = functional.center_crop(functional.resize(image, size, InterpolationMode.BICUBIC), size)
    assert torch.equal(decoded([("a", encoded(image))], 1, size)[0], functional.pil_to_tensor(expected))


def test_another_size_is_named() -> None:
    pictures = [("first.png", encoded(COLOUR)), ("other.png", encoded(COLOUR.resize((5, 4))))]
    with pytest.raises(DataError, match=r"^other\.png is 5x4 pixels but first\.png is 61x40: all must have one size"):
        decoded(pictures, 2)
    assert decoded(pictures, 2, size=4).shape == (2, 3, 4, 4)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "^bad cannot be read: it is not a picture of a kind that Pillow knows$"),
        (b"some text", "^bad cannot be read: it is not a picture of a kind that Pillow knows$"),
        (encoded(COLOUR)[:200], "^bad cannot be read: "),
        (encoded(COLOUR, "JPEG")[:800], "^bad cannot be read: "),
        (encoded(Image.new("I;16", (2, 2))), "^bad has pixels of mode I;16: only 8-bit"),
    ],
)
def test_an_unreadable_picture_is_named(data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        decoded([("good", encoded(COLOUR)), ("bad", data)], 2)


def test_size_must_be_positive() -> None:
    with pytest.raises(InputError, match="size=0: must be at least 1"):
        decoded([], 0, size=0)
