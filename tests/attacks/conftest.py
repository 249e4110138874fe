import numpy as np
import pytest
import torch

from robusteval.core.types import Batch
from robusteval.models.foreign import Description
from robusteval.models.loading import describe, load


@pytest.fixture(autouse=True, scope="package")
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def resnet20(shared_data):
    """A stranger's ResNet-20 on CIFAR-10, which no robust training has seen."""
    path = shared_data / "checkpoints" / "resnet20-12fca82f.th"
    given = Description(
        arch="resnet-cifar(depth=20)", data="cifar10", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
    )
    return load(path, describe(path, given), (3, 32, 32), tuple("0123456789")).model


@pytest.fixture(scope="session")
def cifar(shared_data):
    """The first 128 test images."""
    with np.load(shared_data / "cifar10-slice.npz") as arrays:
        x, y = (torch.from_numpy(arrays[f"test_{name}"][:128]) for name in ("images", "labels"))
    return Batch(x.permute(0, 3, 1, 2).float().div(255).contiguous(), y.long(), torch.arange(128))
