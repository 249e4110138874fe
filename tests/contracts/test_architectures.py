"""What every architecture keeps."""

import pytest
import torch

from robusteval.core.component import Provider
from robusteval.models import ARCHITECTURES

OWN = [name for name, cls in ARCHITECTURES.classes.items() if not issubclass(cls, Provider)]


@pytest.mark.parametrize("name", [*OWN, "torchvision:resnet18"])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 8, 8), (3, 8, 8)])
@pytest.mark.parametrize("classes", [2, 10])
def test_logits_have_their_shape(name, shape, classes):
    with torch.device("meta"):  # shapes without memory or arithmetic, so that the largest network costs nothing
        network = ARCHITECTURES.parse(name).initialised(shape, classes).eval()
        logits = network(torch.empty(3, *shape))
    assert logits.shape == (3, classes)
    assert logits.dtype == torch.float32
