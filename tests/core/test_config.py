from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from robusteval.core.config import find, line_of, read, suites
from robusteval.core.errors import InputError


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid")

    specs: tuple[str, ...]
    samples: int | None = Field(default=None, ge=1)


class Sheet(BaseModel):
    model_config = ConfigDict(extra="forbid")

    epochs: int = Field(ge=1)
    lr: float = 0.1
    samples: int | Literal["all"] = "all"
    views: tuple[Table, ...] = ()


def written(folder: Path, text: str) -> Path:
    path = folder / "sheet.toml"
    path.write_text(text, encoding="utf-8")
    return path


VIEWS = "epochs = 1\nsamples = 5\n\n[[views]]\nspecs = ['a']\n\n[[views]]\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epochs = 5\nlr = 1\nepoch = 3", r", line 3: epoch: Extra inputs are not permitted; did you mean 'epochs'\?"),
        ("# lr = 1\nepochs = 5\nlr = 'x'", r", line 3: lr: .*; given 'x'"),
        ("'epochs' = 0", ", line 1: epochs: .*; given 0"),
        (VIEWS + "specs = ['b']\nsamples = 0", r", line 9: views\.1\.samples: .*; given 0"),
        (VIEWS + "specs = ['b', 3]", r", line 8: views\.1\.specs\.1: .*; given 3"),
        (VIEWS + "specs = []\nsample = 3", r", line 9: views\.1\.sample: .*; did you mean 'samples'"),
        (
            "epochs = 1\nviews = [{specs = []},\n{specs = [], spec = []}]",
            r", line 3: views\.1\.spec: .*did you mean 'specs'",
        ),
        ("lr = 1", ": epochs: is required"),
        ("epochs = 1\nlr = ", r": Invalid value \(at end of document\)"),
    ],
)
def test_what_does_not_fit_is_named_with_its_line(tmp_path, text, said):
    path = written(tmp_path, text)
    with pytest.raises(InputError, match=f"sheet.toml{said}") as caught:
        read(path, Sheet)
    assert "\n" not in str(caught.value)


def test_a_value_given_beside_the_file_is_not_blamed_on_a_line(tmp_path):
    with pytest.raises(InputError, match=r"sheet\.toml: epochs: .*; given 0$"):
        read(written(tmp_path, "epochs = 5"), Sheet, {"epochs": 0})


def test_values_given_beside_the_file_win(tmp_path):
    path = written(tmp_path, "epochs = 5 # größer\nlr = 1")
    assert read(path, Sheet, {"epochs": 2}) == Sheet(epochs=2, lr=1)
    assert read(path, Sheet).epochs == 5


@pytest.mark.parametrize("content", [None, b"epochs = '\xff'"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, content):
    path = tmp_path / "sheet.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"sheet\.toml cannot be read: "):
        read(path, Sheet)


def test_files_are_found_by_name_and_by_path(tmp_path):
    path = written(tmp_path, "")
    assert find("recipe", "sheet", tmp_path) == find("recipe", str(path), Path("/nowhere")) == path
    with pytest.raises(InputError, match=r"^recipe='sheets': there is no such file or name; did you mean 'sheet'\?$"):
        find("recipe", "sheets", tmp_path)
    with pytest.raises(InputError, match="there is none to choose from"):
        find("recipe", "sheet", tmp_path / "empty")


def test_the_suites_are_where_they_are_said_to_be():
    assert any(suites().glob("*.toml"))


def test_line_of_is_the_first_line_with_a_part():
    assert [line_of("a\nb\nab", part) for part in ("b", "ab", "", "z")] == [2, 3, 1, 1]
