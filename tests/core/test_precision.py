import pytest
import torch

from robusteval.core.precision import full_float32


@full_float32()
def inside(fails: bool) -> bool:
    return bool(torch.backends.cudnn.allow_tf32) if not fails else bool(1 / 0)


@pytest.mark.parametrize("before", [True, False])
def test_tf32_is_off_inside_and_as_before_outside(before, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", before)
    assert inside(fails=False) is False
    with pytest.raises(ZeroDivisionError):
        inside(fails=True)
    assert torch.backends.cudnn.allow_tf32 is before
