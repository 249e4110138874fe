import pytest
import torch

from robusteval.attacks.losses import LOSSES, cross_entropy, dlr, margin, margin_loss, targeted_dlr
from robusteval.core.rng import Stream

LOGITS = 5 * Stream.seeded(5).normal(torch.arange(40), (6,))
Y = torch.arange(40) % 6
AIM = torch.stack([Y, (Y + 1 + torch.arange(40) % 5) % 6], dim=1)


def ratio(row, y, target=None):
    """Both ratios of the paper for one row, told in plain numbers."""
    values = sorted(row, reverse=True)
    if target is None:
        other = max(value for number, value in enumerate(row) if number != y)
        return (other - row[y]) / (values[0] - values[2])
    return (row[target] - row[y]) / (values[0] - (values[2] + values[3]) / 2)


def test_the_ratios_are_the_papers():
    rows = LOGITS.double().tolist()
    expected = [ratio(row, y) for row, y in zip(rows, Y.tolist(), strict=True)]
    assert dlr(LOGITS, Y).tolist() == pytest.approx(expected)
    expected = [ratio(row, *aim) for row, aim in zip(rows, AIM.tolist(), strict=True)]
    assert targeted_dlr(LOGITS, AIM).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("loss", [dlr, lambda logits, y: targeted_dlr(logits, AIM)])
def test_a_ratio_changes_neither_with_scale_nor_with_shift(loss):
    torch.testing.assert_close(loss(7 * LOGITS.double() - 3, Y), loss(LOGITS, Y))


@pytest.mark.parametrize("loss", LOSSES)
def test_a_loss_is_float64_and_rises_as_the_label_falls(loss):
    lower = LOGITS - 0.1 * torch.nn.functional.one_hot(Y, 6)
    before, after = LOSSES[loss](LOGITS, Y), LOSSES[loss](lower, Y)
    assert before.dtype == torch.float64
    assert (after >= before - 1e-12).all()
    assert (after > before).float().mean() > 0.5


@pytest.mark.parametrize("loss", [margin_loss, dlr])
def test_what_is_above_0_is_wrong(loss):
    assert torch.equal(loss(LOGITS, Y) > 0, LOGITS.argmax(dim=1) != Y)
    assert torch.equal(margin(LOGITS, Y) < 0, LOGITS.argmax(dim=1) != Y)


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_below_its_classes_a_ratio_is_the_margin(classes):
    logits, y = LOGITS[:, :classes], Y % classes
    aim = torch.stack([y, (y + 1) % classes], dim=1)
    assert torch.equal(dlr(logits, y), margin_loss(logits, y)) == (classes < 3)
    assert torch.equal(targeted_dlr(logits, aim), margin_loss(logits, y)) == (classes < 4)


@pytest.mark.parametrize("loss", [cross_entropy, margin_loss, dlr, lambda logits, y: targeted_dlr(logits, AIM[:4])])
def test_the_gradients_are_those_of_differences(loss):
    logits = LOGITS[:4].double().requires_grad_(True)
    assert torch.autograd.gradcheck(lambda given: loss(given, Y[:4]), logits)


@pytest.mark.parametrize("classes", [2, 3, 4, 6])
def test_equal_logits_have_finite_losses(classes):
    logits = torch.zeros(4, classes, requires_grad=True)
    aim = torch.stack([torch.zeros(4, dtype=torch.int64), torch.ones(4, dtype=torch.int64)], dim=1)
    total = sum(loss(logits, aim[:, 0]).sum() for loss in LOSSES.values()) + targeted_dlr(logits, aim).sum()
    assert total.isfinite()
    assert torch.autograd.grad(total, logits)[0].isfinite().all()
