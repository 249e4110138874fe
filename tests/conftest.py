"""What every room's tests share."""

import os
from pathlib import Path

import pytest
import torch

# Tests work on small tensors, where a second thread costs more than it brings.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("ROBUSTEVAL_SHARED_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"the shared data are not on this machine (looked in {folder})")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest test first, so that no core waits for it in the end."""
    items.sort(key=lambda item: item.name != "test_commands")
