"""`robusteval report --mce-against`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

Call = Callable[..., Any]


def test_it_says_what_is_missing_and_writes_its_table(desk: Path, command: Call) -> None:
    command("eval", "net.safetensors", "--suite", "tiny.toml", "--samples", "20", "--out", "out")
    answer = command("report", "out", "--no-html", "--mce-against", "out")
    assert answer.code == 0
    assert "| net | generated | - | - |" in answer.out
    assert "- missing for mCE: gaussian-noise@1, " in answer.out
    assert answer.out.endswith("written: out/mce.csv\n")
    assert (desk / "out" / "mce.csv").read_text().startswith("model,origin,set,family,score,")
    assert "AlexNet's errors are of ImageNet-C" in command("report", "out", "--mce-against", "alexnet").line
    assert not (desk / "out" / "report.html").exists()
