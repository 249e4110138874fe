import numpy as np
import pytest
import torch

from robusteval.corruptions.opencv_steps import UNIT, bordered, box_sum, canny, distance, equalised

SIDES = [(32, 32), (8, 8), (28, 40), (2, 2), (1, 9)]


def smooth(height: int, width: int, low: int = 0) -> np.ndarray:
    """Images of bytes with soft and hard edges, 40 of them."""
    coarse = torch.rand(40, 1, 6, 6, generator=torch.Generator().manual_seed(height))
    fine = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)[:, 0]
    levels = (fine * 300).clamp(0, 255).to(torch.uint8)
    levels[20:][levels[20:] < 140] = low
    return levels.numpy()


def whole(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image.astype(np.int32))


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(("low", "high"), [(50, 150), (20, 400)])
def test_edges_are_opencvs(side, low, high):
    cv2 = pytest.importorskip("cv2")
    image = smooth(*side)
    expected = np.stack([cv2.Canny(each, low, high) for each in image]) > 0
    assert (canny(whole(image), low, high).numpy() == expected).all()
    assert expected.any() or min(side) < 8


def test_a_weak_edge_counts_where_it_touches_a_strong_one():
    image = torch.zeros(2, 12, 12, dtype=torch.int32)
    image[0, :, 6:] = torch.linspace(4, 60, 12).to(torch.int32)[:, None]
    image[1, :, 6:] = 30
    edges = canny(image, 40, 200)
    assert edges[0, 4:].any(dim=1).all()
    assert not edges[1].any()
    assert not edges[0, 0].any()


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("points", [1, 5])
def test_distances_are_opencvs(side, points):
    cv2 = pytest.importorskip("cv2")
    mask = np.zeros((30, side[0] * side[1]), dtype=bool)
    places = np.random.default_rng(points).integers(0, mask.shape[1], (30, points))
    np.put_along_axis(mask, places, values=True, axis=1)
    mask = mask.reshape(30, *side)
    expected = np.stack([cv2.distanceTransform(255 - 255 * each.astype(np.uint8), cv2.DIST_L2, 5) for each in mask])
    found = distance(torch.from_numpy(mask), 20)
    assert found.numpy() / UNIT == pytest.approx(np.minimum(expected, 20), abs=1e-5)
    # Averaged and cut to bytes, as it is used, it is the same.
    depth = np.stack([cv2.blur(np.minimum(each, 20), (3, 3)).astype(np.uint8) for each in expected])
    assert (box_sum(found).numpy() // (9 * UNIT) == depth).all()


def test_distances_by_hand_and_without_a_point():
    mask = torch.zeros(2, 5, 9, dtype=torch.bool)
    mask[0, 2, 0] = True
    found = distance(mask, 4)
    assert (found[0, 2] / UNIT).tolist() == [0, 1, 2, 3, 4, 4, 4, 4, 4]
    assert (found[0, 4, :4] / UNIT).tolist() == pytest.approx([2, 2.1969, 2.8, 3.5969], abs=1e-4)
    assert (found[1] == 4 * UNIT).all()


@pytest.mark.parametrize("side", SIDES)
def test_equal_frequencies_are_opencvs(side):
    cv2 = pytest.importorskip("cv2")
    image = smooth(*side, low=7) // 13
    image[5] = 20
    expected = np.stack([cv2.equalizeHist(each) for each in image])
    assert (equalised(whole(image), 21).numpy() == expected).all()
    assert (expected[5] == 20).all()


@pytest.mark.parametrize("side", SIDES)
def test_borders_and_boxes_are_opencvs(side):
    cv2 = pytest.importorskip("cv2")
    image = smooth(*side)
    for mirrored, border in ((True, cv2.BORDER_REFLECT_101), (False, cv2.BORDER_REPLICATE)):
        expected = np.stack([cv2.copyMakeBorder(each, 1, 1, 1, 1, border) for each in image])
        assert (bordered(whole(image), mirrored).numpy() == expected).all()
    expected = np.stack([cv2.blur(each, (3, 3)) for each in image])
    assert ((2 * box_sum(whole(image)) + 9).numpy() // 18 == expected).all()
