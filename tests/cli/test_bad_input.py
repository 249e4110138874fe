"""Bad input is answered with one clear line and exit code 2, and leaves nothing behind."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

Call = Callable[..., Any]
Make = Callable[..., Any]


class Stranger:
    """Something that only a real unpickle can read."""


@pytest.fixture
def strange(desk: Path, make_npz: Make) -> Path:
    """Every kind of bad file beside the good ones."""
    raw, state = (desk / "net.safetensors").read_bytes(), load_file(desk / "net.safetensors")
    (desk / "cut.safetensors").write_bytes(raw[: len(raw) // 2])
    (desk / "cut-header.safetensors").write_bytes(raw[:100])
    (desk / "empty.safetensors").write_bytes(b"")
    torch.save(state, desk / "plain.pth")
    (desk / "cut.pth").write_bytes((desk / "plain.pth").read_bytes()[:3000])
    (desk / "page.pth").write_text("<html>404</html>")
    torch.save(
        {**{key: value for key, value in state.items() if "last" not in key}, "extra": torch.ones(1)},
        desk / "other.pth",
    )
    torch.save({"state_dict": state, "stranger": Stranger()}, desk / "pickle.pth")
    (desk / "old.pth").write_bytes(pickle.dumps({"weights": Stranger()}, protocol=2))
    torch.save({**state, "classify.1.bias": torch.full((10,), torch.nan)}, desk / "nan.pth")
    make_npz(desk / "seven.npz", classes=7)
    make_npz(desk / "ten.npz")
    make_npz(desk / "colour.npz", shape=(8, 8, 3))
    make_npz(desk / "large.npz", shape=(9, 9))
    make_npz(desk / "wide.npz", x_test=np.full((40, 8, 8), 1.5))
    np.savez(desk / "labels.npz", x_test=np.zeros((3, 8, 8), np.uint8), y_test=[0, 1, 11], classes=np.arange(10))
    np.savez(desk / "negative.npz", x_test=np.zeros((3, 8, 8), np.uint8), y_test=[0, 1, -1])
    np.savez(desk / "nothing.npz", x_test=np.zeros((0, 8, 8), np.uint8), y_test=np.zeros(0, int))
    (desk / "empty").mkdir()
    (desk / "wrong.toml").write_text('[[views]]\nspecs = ["clean", "pdg(eps=8/255)"]\n')
    (desk / "version").mkdir()
    (desk / "version" / "run.json").write_text('{"format": 99}')
    return desk


NPZ = "npz(path='{}.npz')".format
FOREIGN = ("--arch", "small-cnn", "--data", "digits")

CASES: dict[str, tuple[tuple[str, ...], str]] = {
    "no checkpoint": (("none.safetensors",), "checkpoint='none.safetensors': there is no such file or folder"),
    "no file in folder": (("empty",), "checkpoint='empty': the folder has no file that ends in .safetensors"),
    "truncated own": (("cut.safetensors",), "cut.safetensors is truncated, damaged or no checkpoint"),
    "truncated header": (("cut-header.safetensors",), "cut-header.safetensors is truncated"),
    "empty file": (("empty.safetensors",), "empty.safetensors is truncated"),
    "truncated foreign": (("cut.pth", *FOREIGN), "cut.pth is truncated, damaged or no checkpoint"),
    "a web page": (("page.pth", *FOREIGN), "page.pth is truncated, damaged or no checkpoint"),
    "keys do not fit": (("other.pth", *FOREIGN), "missing 'last.0.weight' and 4 more, unexpected 'extra'"),
    "other architecture": (("plain.pth", "--arch", "resnet-cifar", "--data", "digits"), "missing 'conv1.weight'"),
    "nan weights": (("nan.pth", *FOREIGN), "'classify.1.bias' holds NaN or infinite weights"),
    "class count": (("net.safetensors", "--data", NPZ("seven")), "the checkpoint has 10 classes, the data 7"),
    "class count, foreign": (
        ("plain.pth", "--arch", "small-cnn", "--data", NPZ("seven")),
        "has 10 classes, the data 7",
    ),
    "channels": (
        ("net.safetensors", "--data", NPZ("colour")),
        "takes images of shape (1, 8, 8), the data have (3, 8, 8)",
    ),
    "channels, foreign": (("plain.pth", "--arch", "small-cnn", "--data", NPZ("colour")), "1 channels, the data have 3"),
    "size": (("net.safetensors", "--data", NPZ("large")), "takes images of shape (1, 8, 8), the data have (1, 9, 9)"),
    "pixel range": (("net.safetensors", "--data", NPZ("wide")), "must be finite and in [0, 1]; divide by 255"),
    "labels": (("net.safetensors", "--data", NPZ("labels")), "labels=11: must be in 0..9"),
    "negative labels": (("net.safetensors", "--data", NPZ("negative")), "labels=-1: must be in 0.."),
    "no data": (("net.safetensors", "--data", NPZ("nothing")), "the data set is empty"),
    "no archive": (("net.safetensors", "--data", NPZ("missing")), "missing.npz"),
    "unknown data": (("net.safetensors", "--data", "digitz"), "unknown data set 'digitz': did you mean 'digits'?"),
    "unknown arch": (("plain.pth", "--arch", "smal-cnn", "--data", "digits"), "did you mean 'small-cnn'?"),
    "unknown parameter": (("plain.pth", "--arch", "wide-resnet(dept=28)", "--data", "digits"), "did you mean 'depth'?"),
    "code in a spec": (
        ("plain.pth", "--arch", "resnet-cifar(depth=1+1)", "--data", "digits"),
        "'1+1' is not a number",
    ),
    "unknown view": (("net.safetensors", "--suite", "wrong.toml"), "wrong.toml, line 2: unknown view 'pdg(eps=8/255)'"),
    "unknown suite": (
        ("net.safetensors", "--suite", "quik"),
        "suite='quik': there is no such file or name; did you mean",
    ),
    "other version": (
        ("net.safetensors", "--out", "version"),
        "version has report format 99, this robusteval writes 1",
    ),
    "not a report": (("net.safetensors", "--out", "."), "the folder is not empty and not a report"),
    "out is a file": (("net.safetensors", "--out", "tiny.toml"), "must be a folder, and a file of that name exists"),
    "out below a file": (("net.safetensors", "--out", "tiny.toml/report"), "cannot be written: Not a directory"),
    "pickle": (("pickle.pth", *FOREIGN), "pickle.pth holds pickled code; if you trust its author, add --trust-pickle"),
    "old pickle": (("old.pth", *FOREIGN), "old.pth holds pickled code; if you trust its author, add --trust-pickle"),
    "no sidecar": (
        ("plain.pth",),
        "name its architecture and data with --arch and --data, or write them to plain.pth.toml",
    ),
    "no data named": (("plain.pth", "--arch", "small-cnn"), "name its architecture and data with --arch and --data"),
    "wrong mean": (("plain.pth", *FOREIGN, "--mean", "0.5,x"), "mean='0.5,x': must be numbers between commas"),
    "nan mean": (("plain.pth", *FOREIGN, "--mean", "nan"), "mean='nan': must be numbers between commas"),
    "mean per channel": (("plain.pth", *FOREIGN, "--mean", "0.5,0.5"), "one per channel"),
    "zero std": (("plain.pth", *FOREIGN, "--std", "0"), "must be above 0"),
    "samples": (("net.safetensors", "--samples", "0"), "samples='0': must be a number of at least 1, or 'all'"),
    "samples in letters": (("net.safetensors", "--samples", "²"), "must be a number of at least 1, or 'all'"),
    "batch size": (
        ("net.safetensors", "--batch-size", "big"),
        "batch-size='big': must be a number of at least 1, or 'auto'",
    ),
    "device": (("net.safetensors", "--device", "tpu"), "device='tpu': must be auto, cpu or cuda"),
    "executor": (("net.safetensors", "--executor", "process"), "did you mean 'processes'?"),
    "workers of serial": (("net.safetensors", "--executor", "serial", "--workers", "2"), "is for --executor processes"),
    "threads": (("net.safetensors", "--threads", "0"), "--threads"),
    "no such split": (("net.safetensors", "--calibrate-on", "vall"), "calibrate-on='vall': must be train, or valid"),
    "nothing held out": (
        ("net.safetensors", "--calibrate-on", "validation"),
        "calibrate-on='validation': the card of net names no part of digits that its training held out; try train",
    ),
    "no train split": (
        ("net.safetensors", "--calibrate-on", "train", "--data", NPZ("ten")),
        "has no train split, only test",
    ),
    "no recalibrator": (("net.safetensors", "--recalibrate", "platte"), "did you mean 'platt'?"),
    "unknown option": (("net.safetensors", "--sample", "3"), "--samples"),
}


@pytest.mark.parametrize(("arguments", "said"), CASES.values(), ids=CASES.keys())
def test_eval(strange: Path, command: Call, arguments: tuple[str, ...], said: str) -> None:
    before = sorted(strange.rglob("*"))
    suite = () if "--suite" in arguments else ("--suite", "tiny.toml")
    assert said in command("eval", *arguments, *suite).line
    assert sorted(strange.rglob("*")) == before, "nothing is created"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_no_cuda(desk: Path, command: Call) -> None:
    assert "torch finds no CUDA device here; use cpu" in command("eval", "net.safetensors", "--device", "cuda").line


def test_no_default_checkpoint(tmp_path: Path, command: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    line = command("eval").line
    assert "no checkpoint is named" in line
    assert str(tmp_path) in line
    assert list(tmp_path.iterdir()) == []


TRAIN: dict[str, tuple[tuple[str, ...], str]] = {
    "unknown variant": (("--variant", "mixap"), "unknown variant 'mixap': did you mean 'mixup'"),
    "unknown parameter": (("--variant", "erm,mixup(alfa=1)"), "mixup has no parameter 'alfa'; did you mean 'alpha'?"),
    "no variant": (("--variant", ","), "name at least one"),
    "variant left out": ((), "--variant"),
    "unknown data": (("--variant", "erm", "--data", "digit"), "did you mean 'digits'?"),
    "unknown arch": (("--variant", "erm", "--arch", "small"), "small-cnn"),
    "unknown recipe": (("--variant", "erm", "--recipe", "smal"), "did you mean 'small'?"),
    "wrong recipe": (("--variant", "erm", "--recipe", "recipe.toml"), "recipe.toml, line 4: momentun: "),
    "a huge seed": (("--variant", "erm", "--seeds", "99999999999999999999"), "whole numbers between commas"),
    "an architecture for larger images": (
        ("--variant", "genlabel", "--arch", "torchvision:vgg11"),
        "architecture='torchvision:vgg11': cannot take the samples of digits",
    ),
    "seeds": (("--variant", "erm", "--seeds", "0,one"), "seeds='0,one': must be whole numbers between commas"),
    "epochs": (("--variant", "erm", "--epochs", "0"), "--epochs"),
    "k above half the batch": (("--variant", "erm,kmixup(k=65)"), "k=65: must be at most half the batch, 64"),
    "lambda of mixup": (("--variant", "mixup(alpha=0)"), "alpha=0.0: must be above 0"),
    "lambda of midpoint": (("--variant", "midpoint(alpha=1)"), "midpoint has no parameter 'alpha'"),
    "lambda of the fitted": (("--variant", "varmixup(alpha=-1.0)"), "alpha=-1.0: must be above 0"),
    "images given vectors": (
        ("--variant", "erm,cutmix", "--data", "moons", "--arch", "mlp"),
        "variant='cutmix': needs images, but a sample of moons is a vector of 2 numbers",
    ),
    "more images given vectors": (("--variant", "augmix", "--data", "moons", "--arch", "mlp"), "augmix': needs images"),
    "no stages": (
        ("--variant", "erm,manifold", "--arch", "torchvision:resnet18"),
        "manifold needs a network with stages",
    ),
    "cache is a file": (
        ("--variant", "erm,varmixup", "--cache", "recipe.toml"),
        "cache='recipe.toml': recipe.toml is a file",
    ),
    "one class": (("--variant", "erm", "--data", "npz(path='one.npz')"), "two classes or more, not 1"),
    "workers": (("--variant", "erm", "--workers", "0"), "--workers"),
    "out is a file": (("--variant", "erm", "--out", "recipe.toml"), "recipe.toml is a file"),
    "out below a file": (("--variant", "erm", "--out", "recipe.toml/nets"), "recipe.toml is a file"),
}


@pytest.mark.parametrize(("arguments", "said"), TRAIN.values(), ids=TRAIN.keys())
def test_train(
    tmp_path: Path, command: Call, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.toml").write_text("epochs = 1\nbatch_size = 32\nlr = 0.1\nmomentun = 0.5\n")
    np.savez("one.npz", x_train=np.zeros((200, 8, 8), np.uint8), y_train=np.zeros(200, int))
    data = () if "--data" in arguments else ("--data", "digits")
    assert said in command("train", *arguments, *data).line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.npz", "recipe.toml"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("report",), "folder"),
        (("report", "nowhere"), "nowhere is not a report folder: it has no run.json"),
        (("report", "version"), "version has report format 99"),
        (("list", "attack"), "kind='attack': did you mean 'attacks'"),
        (("list", "models"), "kind='models': choose from architectures, attacks"),
        (("evall",), "eval"),
        (("--colour",), "--colour"),
    ],
)
def test_other_verbs(strange: Path, command: Call, arguments: tuple[str, ...], said: str) -> None:
    assert said in command(*arguments).line
