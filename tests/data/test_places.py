import hashlib
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torchvision

from robusteval.core.errors import DataError
from robusteval.data import places


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a file that a server on this machine gives out."""
    monkeypatch.setenv("no_proxy", "*")
    (tmp_path / "file.bin").write_bytes(b"content")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=tmp_path)) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield f"http://127.0.0.1:{server.server_port}/file.bin"
        server.shutdown()


def test_a_download_appears_whole_under_its_name(served: str, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    places.fetch("it", {served: hashlib.md5(b"content").hexdigest()}, folder, [folder], "get it")
    assert [each.name for each in folder.iterdir()] == ["file.bin"]
    assert (folder / "file.bin").read_bytes() == b"content"


def test_a_download_with_a_wrong_sum_leaves_nothing(served: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"downloading it failed.*corrupted.*get it with: get it$"):
        places.fetch("it", {served: "0" * 32}, tmp_path / "folder", [], "get it")
    assert list((tmp_path / "folder").iterdir()) == []


def test_a_failed_download_is_one_line(offline: list[str], tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        places.fetch("it", {"https://host/file": ""}, tmp_path, [tmp_path / "a", tmp_path / "b"], "get it")
    searched = f"looked in {tmp_path}/a, {tmp_path}/b"
    reason = "downloading it failed (<urlopen error no network>)"
    assert str(caught.value) == f"it is not on this machine ({searched}); {reason}; get it with: get it"
    assert offline == ["https://host/file"]


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.datasets.utils, "download_url", lambda *_: None)
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="downloading it failed"):
        places.fetch("it", {"https://host/file": ""}, tmp_path / "file" / "below", [], "get it")


def test_parts_prefer_test_to_validation() -> None:
    assert places.parts({"val": 1, "test": 2}.get) == {"test": 2}
    assert places.parts({"val": 1, "train": 2}.get) == {"train": 2, "test": 1}
