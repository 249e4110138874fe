import pytest
import torch

from robusteval.core.errors import DataError, InputError
from robusteval.core.rng import Stream
from robusteval.data import DATA, Augmentation, Split
from robusteval.data.augment import augment
from robusteval.data.digits import Digits

VIEWS = DATA.parse("two-views")
DIGITS = DATA.parse("digits")


@pytest.mark.parametrize("classes", [2, 10, 100])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_pairing_is_an_involution_without_fixed_points(classes: int, seed: int) -> None:
    partners = DATA.parse(f"two-views(seed={seed})").partners(classes)
    assert torch.equal(partners[partners], torch.arange(classes))
    assert not (partners == torch.arange(classes)).any()


def test_the_pairing_depends_on_the_seed() -> None:
    assert len({tuple(DATA.parse(f"two-views(seed={seed})").partners(10).tolist()) for seed in range(5)}) == 5


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_second_image_is_one_of_the_paired_class(split: str) -> None:
    whole, both = DIGITS.split(split), DATA.parse("two-views(view='both')").split(split)
    assert torch.equal(both.labels, whole.labels)
    assert torch.equal(both.ids, whole.ids)
    assert both.shape == (2, 8, 8)
    assert torch.equal(both.images[:, :1], whole.images // 2)
    partners = VIEWS.partners(10)
    used = set()
    for second, label in zip(both.images[:, 1:], both.labels, strict=True):
        found = (whole.images // 2 == second).flatten(1).all(dim=1).nonzero()[:, 0]
        assert set(whole.labels[found].tolist()) == {int(partners[label])}
        used.add(int(found[0]))
    assert len(used) > 0.55 * len(whole)  # 1 - 1/e of them are expected


def test_the_test_shows_one_view() -> None:
    whole = DIGITS.split("test")
    first, second, both = (
        DATA.parse(f"two-views(view='{view}')").split("test") for view in ("first", "second", "both")
    )
    assert torch.equal(VIEWS.split("test").images, first.images)
    assert torch.equal(first.images[:, :1], whole.images)
    assert not first.images[:, 1:].any()
    assert not second.images[:, :1].any()
    assert torch.equal(second.images[:, 1:] // 2, both.images[:, 1:])


def test_training_weighs_the_halves_anew_each_time() -> None:
    x, _, ids = VIEWS.split("train").batch()
    epochs = [augment(x, ids, VIEWS.augmentation, Stream.seeded(0).stream(epoch)) for epoch in range(2)]
    shares = []
    for changed in epochs:
        share = (changed / x.clamp_min(1e-9)).flatten(2).amax(dim=2) / 2  # [n, 2]
        assert torch.allclose(changed, 2 * share[:, :, None, None] * x, atol=1e-6)
        assert torch.allclose(share.sum(dim=1), torch.ones(len(x)), atol=1e-5)
        assert changed.max() <= 1
        shares.append(share[:, 0])
    assert not torch.isclose(shares[0], shares[1], atol=1e-4).all()
    quantiles = torch.cat(shares).quantile(torch.tensor([0.1, 0.5, 0.9]))
    assert torch.allclose(quantiles, torch.tensor([0.1, 0.5, 0.9]), atol=0.03)
    assert VIEWS.augmentation == Augmentation(views=True)


def test_floats_and_vectors_have_views_too() -> None:
    moons, both = DATA.parse("moons").split("train"), DATA.parse("two-views(data='moons')").split("train")
    assert both.shape == (4, 1, 1)
    assert torch.equal(both.images[:, :2], moons.images / 2)


def test_an_odd_number_of_classes_is_refused() -> None:
    with pytest.raises(InputError, match=r"data='blobs': must have an even number of classes, to pair them, not 3"):
        DATA.parse("two-views(data='blobs')").split("train")


def test_a_class_without_images_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    lonely = Split.of(torch.zeros(3, 1, 2, 2), torch.zeros(3, dtype=torch.int64), ("a", "b"))
    monkeypatch.setattr(Digits, "load", lambda self, split: lonely)
    with pytest.raises(DataError, match="a class of the train split has no image to pair another with"):
        VIEWS.split("train")
