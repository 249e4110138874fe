"""The graph of nearest neighbours in the training part (METHODS 3.1)."""

import math

import pytest
import torch

from robusteval.data import Augmentation, Split
from robusteval.variants import Fitting
from robusteval.variants.neighbours import NeighbourGraph, radii, separation

N = 600  # more than one chunk


def split(images):
    """Samples whose ids are neither positions nor in order."""
    ids = torch.randperm(len(images), generator=torch.Generator().manual_seed(1)) * 5 + 11
    return Split(images, torch.zeros(len(images), dtype=torch.int64), ids, ("a",))


TRAIN = split(torch.randint(256, (N, 3, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8))


def untrained(epochs):
    raise AssertionError("a graph needs no network")


def fitting(train=TRAIN, cache=None, progress=lambda *_: None):
    return Fitting(train, 0, untrained, Augmentation(), cache=cache, progress=progress)


def everyone(graph, train):
    """Who is joined to whom, by position, [n, n]."""
    n = len(train)
    return graph.joins(train.ids.repeat_interleave(n), train.ids.repeat(n)).reshape(n, n)


@pytest.mark.parametrize("share", [1e-9, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("n", [3, 40, 300])
def test_it_joins_the_nearest_of_either(share, n):
    train, count = TRAIN.first(n), max(1, round(share * (n - 1)))
    x = train.images.flatten(1).long()
    squares = ((x[:, None] - x) ** 2).sum(dim=2)  # of whole numbers, so exact
    radius = squares.fill_diagonal_(-1).sort(dim=1).values[:, count]
    expected = (squares <= radius[:, None]) | (squares <= radius)
    assert torch.equal(everyone(NeighbourGraph.of(fitting(train), share), train), expected)


def test_all_neighbours_join_everyone():
    for n in (1, 2, 30):
        assert everyone(NeighbourGraph.of(fitting(TRAIN.first(n)), 1.0), TRAIN.first(n)).all()


def test_radii_are_distances_to_the_last_of_the_nearest():
    heard = []
    found = radii(TRAIN, 7, "cpu", lambda *said: heard.append(said))
    x = TRAIN.batch().x.flatten(1).double()
    torch.testing.assert_close(found.double(), torch.cdist(x, x).sort(dim=1).values[:, 7], rtol=1e-6, atol=0)
    assert found.dtype == torch.float32
    assert [done for _, done, _ in heard] == [256, 512, 600]
    assert {(part, total) for part, _, total in heard} == {("neighbour-radii", N)}


def test_twins_are_neighbours_and_a_sample_is_not_its_own():
    twins = split(torch.tensor([0.0, 0.0, 0.4, 0.5, 1.0]).reshape(-1, 1, 1, 1))
    torch.testing.assert_close(radii(twins, 1, "cpu", lambda *_: None), torch.tensor([0.0, 0.0, 0.1, 0.1, 0.5]))


def test_a_second_time_nothing_is_fitted(tmp_path, monkeypatch):
    first = NeighbourGraph.of(fitting(cache=tmp_path), 0.1)
    monkeypatch.setattr("robusteval.variants.neighbours.radii", None)  # would raise if it were called
    again = NeighbourGraph.of(fitting(cache=tmp_path), 0.1)
    assert torch.equal(first.radii, again.radii)
    assert len(list(tmp_path.iterdir())) == 1


def test_the_share_and_the_data_are_in_the_key(tmp_path):
    for train, share in ((TRAIN, 0.1), (TRAIN, 0.2), (TRAIN.first(500), 0.1)):
        NeighbourGraph.of(fitting(train, tmp_path), share)
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("foreign", [0, 12, 10**9])
def test_a_sample_of_another_part_is_refused(foreign):
    graph = NeighbourGraph.of(fitting(), 0.1)
    with pytest.raises(RuntimeError, match="the batch has samples that are not of the training part"):
        graph.joins(torch.tensor([foreign]), TRAIN.ids[:1])


def test_separation_is_the_same_both_ways_and_zero_to_oneself():
    x = TRAIN.batch().x
    assert torch.equal(separation(x[:300], x[300:]), separation(x[300:], x[:300]))
    assert not separation(x, x).any()
    assert separation(torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)).item() == math.sqrt(4)
