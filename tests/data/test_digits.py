import torch
from sklearn.datasets import load_digits

from robusteval.data import Augmentation
from robusteval.data.digits import Digits


def test_the_splits_are_all_scans_once() -> None:
    train, test = Digits().split("train"), Digits().split("test")
    assert (len(train), len(test)) == (1438, 359)
    assert sorted(torch.cat([train.ids, test.ids]).tolist()) == list(range(1797))
    assert Digits.augmentation == Augmentation(crop=1, flip=False)


def test_the_classes_keep_their_proportions() -> None:
    counts = [torch.bincount(Digits().split(name).labels) for name in ("train", "test")]
    assert ((counts[1] - (counts[0] + counts[1]) * 359 / 1797).abs() <= 1).all()


def test_an_image_is_the_scan_of_its_id() -> None:
    scans, test = load_digits(), Digits().split("test")
    assert test.images.shape[1:] == (1, 8, 8)
    assert test.labels.tolist() == scans.target[test.ids].tolist()
    levels = test.images[:, 0].to(torch.float64) * 16 / 255
    assert torch.equal(levels.round(), torch.from_numpy(scans.images)[test.ids])
    assert {0, 16, 255} <= set(test.images.unique().tolist())


def test_the_test_split_never_changes() -> None:
    assert Digits().split("test").ids[:8].tolist() == [0, 3, 15, 22, 24, 25, 38, 46]
    assert Digits().split("test").digest == Digits().split("test").digest
