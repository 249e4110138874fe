import io

import numpy as np
import pytest
import torch
from PIL import Image

from robusteval.corruptions.jpeg_codec import stored

# make_cifar_c.py, make_tinyimagenet_c.py, imagecorruptions, and both ends
QUALITIES = (80, 65, 58, 50, 40, 25, 18, 15, 10, 7, 1, 95)
SIZES = [(8, 8), (16, 16), (28, 28), (32, 32), (64, 64), (224, 224)]
ODD = [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (1, 9), (9, 1), (6, 3), (15, 18), (17, 17), (33, 47), (34, 20)]


def images(height: int, width: int) -> np.ndarray:
    """Bytes [4, height, width, 3]: noise, extreme colours, a smooth surface, one colour."""
    rng = np.random.default_rng(height * 1000 + width)
    noise = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    squares = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    smooth = np.asarray(squares.resize((width, height), Image.Resampling.BICUBIC))
    return np.stack([noise, (noise > 127) * np.uint8(255), smooth, np.broadcast_to(noise[0, 0], noise.shape)])


def pillows(image: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def ours(batch: np.ndarray, quality: int) -> np.ndarray:
    return stored(torch.from_numpy(batch).permute(0, 3, 1, 2).float(), quality).byte().permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("size", SIZES + ODD)
def test_every_byte_is_pillows(size):
    batch = images(*size)
    for quality in QUALITIES:
        assert (ours(batch, quality) == np.stack([pillows(image, quality) for image in batch])).all()


@pytest.mark.parametrize("quality", QUALITIES)
def test_photographs_are_pillows(shared_data, quality):
    with np.load(shared_data / "cifar10-slice.npz") as arrays:
        batch = arrays["test_images"][:300]
    assert (ours(batch, quality) == np.stack([pillows(image, quality) for image in batch])).all()


def test_the_same_bits_at_any_batch_size():
    batch = np.random.default_rng(0).integers(0, 256, (512, 17, 25, 3), dtype=np.uint8)
    whole = ours(batch, 15)
    assert (np.concatenate([ours(batch[i : i + 1], 15) for i in range(64)]) == whole[:64]).all()


def test_grey_stays_grey_and_an_even_surface_stays_as_it_is():
    grey = np.random.default_rng(0).integers(0, 256, (5, 24, 24, 1), dtype=np.uint8).repeat(3, axis=3)
    found = ours(grey, 40)
    assert (found == found[..., :1]).all()
    # At quality 100 nothing is quantised, and an even grey has no other frequency.
    assert (ours(np.full((1, 20, 20, 3), 77, np.uint8), 100) == 77).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("shortened", [False, True])
def test_a_gpu_gives_the_same_bytes(shortened, monkeypatch):
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", shortened)
    batch = torch.from_numpy(images(61, 94)).permute(0, 3, 1, 2).float()
    for quality in QUALITIES:
        assert torch.equal(stored(batch.cuda(), quality).cpu(), stored(batch, quality))
