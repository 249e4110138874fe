import warnings

import numpy as np
import pytest
import torch

from robusteval.corruptions.hsv import Hsv


def colours() -> torch.Tensor:
    """Noise, all pure and grey colours, and pairs of equal channels."""
    levels = torch.randint(0, 256, (6, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    levels[1] = levels[1, :1]
    levels[2, 1], levels[3, 2], levels[4, 0] = levels[2, 0], levels[3, 1], levels[4, 2]
    levels[5] = (levels[5] > 127) * 255
    return levels.double() / 255


def test_known_colours():
    known = {(1, 0, 0): (0, 1, 1), (1, 1, 0): (1, 1, 1), (0, 0.5, 0): (2, 1, 0.5), (0.5, 1, 1): (3, 0.5, 1)}
    known |= {(0, 0, 1): (4, 1, 1), (1, 0.5, 1): (5, 0.5, 1), (0.4, 0.4, 0.4): (0, 0, 0.4), (0, 0, 0): (0, 0, 0)}
    x = torch.tensor(list(known), dtype=torch.float64)[:, :, None, None]
    found = Hsv.of(x)
    assert torch.stack([found.hue, found.saturation, found.value], dim=-1).view(-1, 3).tolist() == [
        pytest.approx(each) for each in known.values()
    ]
    assert torch.equal(found.to_rgb(), x)


def test_there_and_back():
    assert torch.allclose(Hsv.of(colours()).to_rgb(), colours(), rtol=0, atol=1e-14)


def test_the_bits_are_scikit_images():
    color = pytest.importorskip("skimage.color")
    x, last = colours(), colours().permute(0, 2, 3, 1).numpy()
    hsv, found = color.rgb2hsv(last), Hsv.of(x)
    assert (found.hue.numpy() == hsv[..., 0] * 6).all()
    assert (found.saturation.numpy() == hsv[..., 1]).all()
    assert (found.value.numpy() == hsv[..., 2]).all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert (np.moveaxis(found.to_rgb().numpy(), 1, -1) == color.hsv2rgb(hsv)).all()
