import numpy as np
import pytest
import torch
from scipy import ndimage

from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS
from robusteval.corruptions.canny_edges import _connected
from robusteval.data import DATA

CANNY = CORRUPTIONS.parse("canny-edges")
RNG = Stream.seeded(0)


def edges(x: torch.Tensor) -> np.ndarray:
    return CANNY(x, 1, torch.arange(len(x)), RNG).numpy()


@pytest.mark.filterwarnings("default")
def test_edges_are_scikit_images_pixel_for_pixel():
    feature = pytest.importorskip("skimage.feature")
    clothes = DATA.parse("fashion-mnist").split("test").first(500).batch()
    noise = RNG.uniform(torch.arange(100), (1, 28, 28)).mul(255).round() / 255
    flat = RNG.integers(torch.arange(100), (1, 8, 11), 0, 2).float()
    for x in (clothes.x, noise, flat):
        exact = [feature.canny(levels / 255.0) for levels in x.mul(255).round()[:, 0].double().numpy()]
        assert np.array_equal(edges(x)[:, 0], exact)


def test_channels_are_alone():
    clothes = DATA.parse("fashion-mnist").split("test").first(3).batch()
    colour = clothes.x.reshape(1, 3, 28, 28)
    assert np.array_equal(edges(colour)[0], edges(clothes.x)[:, 0])


def test_the_edge_of_a_square_is_closed_and_one_pixel_wide():
    x = torch.zeros(1, 1, 20, 20)
    x[..., 5:15, 5:15] = 0.5
    x[..., 6:14, 6:14] = 1.0
    found = edges(x)[0, 0]
    assert np.flatnonzero(found[10]).tolist() == np.flatnonzero(found[:, 10]).tolist() == [5, 14]
    assert set(np.unique(found)) == {0.0, 1.0}
    assert ndimage.label(found == 0)[1] == 2


def test_no_edge_is_found_in_a_flat_image_or_on_the_border():
    assert edges(torch.full((1, 1, 12, 12), 0.7)).max() == 0
    noise = RNG.uniform(torch.arange(20), (1, 12, 12))
    assert edges(noise)[..., 0].max() == edges(noise)[:, :, -1].max() == 0


def test_a_faint_edge_is_kept_where_it_touches_a_strong_one():
    weak = torch.tensor([[1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 0], [1, 0, 0, 0]], dtype=torch.bool)[None, None]
    strong = torch.zeros_like(weak)
    strong[..., 0, 0] = True
    exact = weak.clone()
    exact[..., 3, 0] = False
    assert torch.equal(_connected(strong, weak), exact)
    assert not _connected(torch.zeros_like(weak), weak).any()
