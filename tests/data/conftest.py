from pathlib import Path
from urllib.error import URLError

import pytest
import torchvision


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder, so that nothing is read from or written to the user's cache."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setattr(Path, "home", lambda: folder)
    return folder


@pytest.fixture
def offline(home: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every download fails; the addresses asked for are listed."""
    asked: list[str] = []

    def fail(url: str, *_: object) -> None:
        asked.append(url)
        raise URLError("no\nnetwork")

    monkeypatch.setattr(torchvision.datasets.utils, "download_url", fail)
    return asked
