import argparse
import sys
import types

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from robusteval.core.errors import CheckpointError, InputError
from robusteval.models import foreign
from robusteval.models.foreign import PREFIXES, WRAPPERS, Description

FC = {"fc.weight": torch.ones(3, 2), "fc.bias": torch.zeros(3)}


class Net(nn.Module):
    def __init__(self, classes=3, channels=1):
        super().__init__()
        self.conv = nn.Conv2d(channels, 2, 3)
        self.bn = nn.BatchNorm2d(2)
        self.fc = nn.Linear(2, classes)

    def forward(self, x):
        return self.fc(self.bn(self.conv(x)).mean((2, 3)))


def test_own_lists_are_those_of_the_design():
    assert WRAPPERS == ("state_dict", "model", "model_state_dict", "net", "ema")
    assert PREFIXES == ("module.", "_orig_mod.", "model.")


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".th", ".ckpt", ".safetensors"])
def test_reads_every_suffix(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    if suffix == ".safetensors":
        save_file(FC, path)
    else:
        torch.save(FC, path)
    found = foreign.read(path)
    assert all(torch.equal(found[name], value) for name, value in FC.items())


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "wrapping", [(), *((wrapper,) for wrapper in WRAPPERS), ("ema", "model"), ("net", "state_dict")]
)
def test_finds_the_state_dict_in_its_wrapping(tmp_path, wrapping, zipped):
    content = FC
    for wrapper in reversed(wrapping):
        content = {wrapper: content, "epoch": 3, "best_prec1": 0.9}
    torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    assert list(foreign.read(tmp_path / "a.pt")) == list(FC)


@given(st.lists(st.sampled_from(PREFIXES), max_size=4))
def test_strips_prefixes_that_all_keys_have(prefixes):
    state = {"".join(prefixes) + name: value for name, value in FC.items()}
    assert list(foreign.stripped(state, FC.keys())) == list(FC)


def test_keeps_a_prefix_that_is_the_networks_own_or_not_common():
    own = {f"model.{name}": value for name, value in FC.items()}
    assert foreign.stripped({f"module.{name}": value for name, value in own.items()}, own.keys()).keys() == own.keys()
    mixed = {"module.a": FC["fc.bias"], "b": FC["fc.bias"]}
    assert foreign.stripped(mixed, {"a", "c"}).keys() == mixed.keys()
    assert foreign.stripped({}, {"a"}) == {}


def test_half_precision_and_missing_counters_fit():
    state = {name: value.half() for name, value in Net().state_dict().items() if "num_batches" not in name}
    network = Net()
    foreign.fit("a.pt", network, state, "net", 1)
    assert torch.equal(network.fc.weight, state["fc.weight"].float())


@pytest.mark.parametrize(
    ("state", "error", "said"),
    [
        (Net(classes=100).state_dict(), CheckpointError, "a.pt: the checkpoint has 100 classes, the data 3"),
        (Net(channels=3).state_dict(), InputError, "a.pt takes images of 3 channels, the data have 1"),
        (FC, CheckpointError, "a.pt does not fit net: missing 'conv.weight' and 5 more"),
        ({**Net().state_dict(), "x": FC["fc.bias"]}, CheckpointError, "unexpected 'x'$"),
        (
            {**Net().state_dict(), "conv.bias": torch.zeros(5)},
            CheckpointError,
            r"'conv.bias' has shape \(5,\), not \(2,\)",
        ),
        ({**Net().state_dict(), "conv.bias": torch.full((2,), float("inf"))}, CheckpointError, "NaN or infinite"),
    ],
)
def test_what_does_not_fit_is_named(state, error, said):
    with pytest.raises(error, match=said) as caught:
        foreign.fit("a.pt", Net(), state, "net", 1)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("wrap", [lambda net: net, lambda net: {"model": net}])
def test_pickled_code_needs_trust(tmp_path, monkeypatch, wrap, zipped):
    module = types.ModuleType("strangers")
    module.Net = type("Net", (Net,), {"__module__": "strangers"})
    monkeypatch.setitem(sys.modules, "strangers", module)
    path = tmp_path / "a.pt"
    torch.save(wrap(module.Net()), path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match="holds pickled code; if you trust its author, add --trust-pickle"):
        foreign.read(path)
    assert isinstance(foreign.read(path, trust_pickle=True), Net)
    monkeypatch.delitem(sys.modules, "strangers")
    with pytest.raises(CheckpointError, match="needs code that is not installed: No module named 'strangers'"):
        foreign.read(path, trust_pickle=True)


def test_trust_reads_weights_beside_other_objects(tmp_path):
    torch.save({"state_dict": FC, "args": argparse.Namespace(lr=1)}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="--trust-pickle"):
        foreign.read(tmp_path / "a.pt")
    assert foreign.read(tmp_path / "a.pt", trust_pickle=True).keys() == FC.keys()


@pytest.mark.parametrize("content", [{"epoch": 3, "lr": 0.1}, {}, [1, 2], 3])
def test_a_file_without_weights_is_said(tmp_path, content):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="holds no state dict: looked under state_dict, model"):
        foreign.read(tmp_path / "a.pt")


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors", "a.pt2"])
@pytest.mark.parametrize(
    "content", [b"", b"<html>not found</html>", b"PK\x03\x04" + bytes(50), b"\x80\x02", bytes(100)]
)
@pytest.mark.parametrize("trust", [True, False])
def test_what_is_no_checkpoint_is_said(tmp_path, name, content, trust):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match="is truncated, damaged or no checkpoint"):
        foreign.read(tmp_path / name, trust)


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors", "a.pt2"])
def test_a_missing_file_is_said(tmp_path, name):
    with pytest.raises(CheckpointError, match="cannot be read: No such file"):
        foreign.read(tmp_path / name)
    (tmp_path / name).mkdir()
    with pytest.raises(CheckpointError, match="cannot be read: Is a directory"):
        foreign.read(tmp_path / name)


@pytest.mark.parametrize("zipped", [True, False])
def test_every_truncation_is_one_line(tmp_path, zipped):
    path = tmp_path / "a.pt"
    torch.save({"state_dict": FC}, path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    for length in range(0, len(content) - 1, 13):
        path.write_bytes(content[:length])
        for trust in (False, True):
            with pytest.raises(CheckpointError) as caught:
                foreign.read(path, trust)
            assert "\n" not in str(caught.value)


def test_a_real_file_that_ends_too_early_is_one_line(tmp_path, shared_data):
    content = (shared_data / "checkpoints" / "resnet20-12fca82f.th").read_bytes()
    for length in (*range(0, 400, 7), *range(400, len(content), 100_001)):
        (tmp_path / "a.th").write_bytes(content[:length])
        with pytest.raises(CheckpointError):
            foreign.read(tmp_path / "a.th")


def test_flags_win_over_the_sidecar(tmp_path):
    (tmp_path / "a.pt.toml").write_text('arch = "resnet-cifar"\ndata = "cifar10"\nmean = [0.5, 0, 1]\n')
    side = foreign.read_sidecar(tmp_path / "a.pt")
    assert side == Description(arch="resnet-cifar", data="cifar10", mean=(0.5, 0.0, 1.0))
    assert Description(data="digits", std=(1.0,)).over(side) == Description(
        arch="resnet-cifar", data="digits", mean=(0.5, 0.0, 1.0), std=(1.0,)
    )
    assert foreign.read_sidecar(tmp_path / "b.pt") == Description()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('arhc = "x"', "a.pt.toml: key 'arhc': .*; known are arch, data, mean, std"),
        ('mean = "x"', "a.pt.toml: key 'mean'"),
        ('std = [1.0, "x"]', "a.pt.toml: key 'std'"),
        ("arch = resnet", "a.pt.toml is not TOML"),
        (b"\xff\xfe", "a.pt.toml is not TOML"),
    ],
)
def test_a_wrong_sidecar_names_file_and_key(tmp_path, text, said):
    (tmp_path / "a.pt.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(CheckpointError, match=said):
        foreign.read_sidecar(tmp_path / "a.pt")
