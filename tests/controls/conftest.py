from pathlib import Path

import pytest
import torch

from robusteval.data import DATA
from robusteval.models.foreign import Description
from robusteval.models.loading import describe, load

BUNDLED = Path(__file__).parents[2] / "checkpoints" / "fashion-mnist"


@pytest.fixture(autouse=True, scope="package")
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def fashion():
    """The bundled test images."""
    return DATA.parse("fashion-mnist").load("test")


@pytest.fixture(scope="session")
def bundled(fashion):
    """A bundled checkpoint by its stem."""

    def of(stem):
        path = BUNDLED / f"{stem}.safetensors"
        return load(path, describe(path, Description()), fashion.shape, fashion.classes).model

    return of


@pytest.fixture(scope="session")
def stranger(shared_data):
    """A third-party ResNet on CIFAR-10 by its file's name and depth."""

    def of(name, depth):
        path = shared_data / "checkpoints" / name
        given = Description(
            arch=f"resnet-cifar(depth={depth})", data="cifar10", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
        )
        return load(path, describe(path, given), (3, 32, 32), tuple("0123456789")).model

    return of
