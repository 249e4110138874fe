import sys
import types

import pytest
import torch
from torch import nn

from robusteval.core.errors import InputError, SpecError
from robusteval.models import ARCHITECTURES
from robusteval.models.architecture import Staged
from robusteval.models.torchvision import replace_first_convolution

OWN = [
    "small-cnn",
    "resnet-cifar(depth=8)",
    "resnet-cifar(depth=8, shortcut='B')",
    "preact-resnet",
    "wide-resnet(depth=10, width=2)",
]


def build(spec: str, shape: tuple[int, int, int] = (3, 32, 32), classes: int = 10) -> nn.Module:
    return ARCHITECTURES.parse(spec).initialised(shape, classes).eval()


@pytest.mark.parametrize(
    ("spec", "shape", "count"),
    [
        ("small-cnn", (1, 28, 28), 42_618),
        ("resnet-cifar", (3, 32, 32), 269_722),
        ("resnet-cifar(depth=32)", (3, 32, 32), 464_154),
        ("resnet-cifar(depth=56)", (3, 32, 32), 853_018),
        ("preact-resnet", (3, 32, 32), 11_172_170),
        ("preact-resnet(depth=34)", (3, 32, 32), 21_280_330),
        ("wide-resnet", (3, 32, 32), 36_479_194),
        ("torchvision:resnet18", (3, 32, 32), 11_181_642),
    ],
)
def test_has_the_published_number_of_parameters(spec, shape, count):
    assert sum(parameter.numel() for parameter in build(spec, shape).parameters()) == count


@pytest.mark.parametrize("spec", OWN)
@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 8, 8), (3, 33, 31)])
def test_stages_and_head_are_the_network(spec, shape):
    network = build(spec, shape, classes=7)
    assert isinstance(network, Staged)
    x = torch.rand(2, *shape)
    features = x
    for stage in network.stages:
        features = stage(features)
    logits = network(x)
    assert logits.shape == (2, 7)
    assert torch.equal(network.head(features), logits)


@pytest.mark.parametrize("spec", OWN)
def test_weights_depend_on_the_seed_alone(spec):
    architecture = ARCHITECTURES.parse(spec)
    before = torch.random.get_rng_state()
    one, same, other = (architecture.initialised((3, 8, 8), 4, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    pairs = list(zip(one.parameters(), same.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("resnet-cifar(depth=21)", "depth=21: must be 6n\\+2"),
        ("preact-resnet(depth=20)", "depth=20: must be 18 or 34"),
        ("wide-resnet(depth=27)", "depth=27: must be 6n\\+4"),
        ("wide-resnet(width=0)", "width=0: must be at least 1"),
    ],
)
def test_depth_and_width_have_rules(spec, said):
    with pytest.raises(InputError, match=said):
        ARCHITECTURES.parse(spec)


def test_small_cnn_names_the_smallest_image():
    with pytest.raises(InputError, match="at least 8x8"):
        build("small-cnn", (1, 7, 9))


@pytest.mark.parametrize("spec", ["torchvision:resnet18", "torchvision:mobilenet_v3_small"])
def test_torchvision_takes_grey_images(spec):
    assert build(spec, (1, 32, 32), 5)(torch.rand(2, 1, 32, 32)).shape == (2, 5)


def test_torchvision_passes_arguments_on():
    network = build("torchvision:vit_b_32(image_size=32, dropout=0.5)")
    assert any(isinstance(module, nn.Dropout) and module.p == 0.5 for module in network.modules())


def test_only_the_channels_of_the_first_convolution_change():
    network = nn.Sequential(nn.Conv2d(3, 8, 5, stride=2, padding=1, bias=False), nn.Conv2d(8, 8, 3))
    replace_first_convolution(network, 1)
    assert str(network[0]) == "Conv2d(1, 8, kernel_size=(5, 5), stride=(2, 2), padding=(1, 1), bias=False)"
    assert network[1].in_channels == 8


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("torchvision:resnet5O", "no classifier 'resnet5O': did you mean 'resnet50'"),
        ("torchvision:resnet18(foo=1)", "unexpected keyword argument 'foo'"),
        ("torchvision:resnet18(weights='DEFAULT')", "leave out weights, it is always None"),
        ("python:nowhere.factory", "cannot import nowhere: No module named 'nowhere'"),
        ("python:factory", "write python:package.module.factory"),
        ("python:torch.nn.Linaer", "no callable 'Linaer'; did you mean 'Linear'"),
        ("python:torch.nn.Linear(inn=3)", "python:torch.nn.Linear"),
        ("python:argparse.Namespace", "returned Namespace, not a torch.nn.Module"),
    ],
)
def test_what_a_spec_gets_wrong_is_said(spec, said):
    with pytest.raises(SpecError, match=said) as caught:
        build(spec)
    assert "\n" not in str(caught.value)


def test_timm_that_is_missing_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(SpecError, match="timm is not installed: pip install timm"):
        build("timm:resnet18")


def test_timm_is_asked_for_a_fresh_model(monkeypatch):
    calls = []
    fake = types.ModuleType("timm")
    fake.is_model = lambda name: name == "tiny"
    fake.list_models = lambda: ["tiny"]
    fake.create_model = lambda name, **options: calls.append((name, options)) or nn.Identity()
    monkeypatch.setitem(sys.modules, "timm", fake)
    build("timm:tiny(drop_rate=0.5)", (1, 8, 8), 3)
    assert calls == [("tiny", {"drop_rate": 0.5, "pretrained": False, "num_classes": 3, "in_chans": 1})]
    with pytest.raises(SpecError, match="did you mean 'tiny'"):
        build("timm:tinny")


def test_python_gives_the_factory_what_it_names(monkeypatch):
    module = types.ModuleType("my_networks")
    seen = {}

    def factory(shape, num_classes, width=1):
        seen.update(shape=shape, num_classes=num_classes, width=width)
        return nn.Identity()

    module.factory = factory
    monkeypatch.setitem(sys.modules, "my_networks", module)
    build("python:my_networks.factory(width=4)", (1, 8, 8), 3)
    assert seen == {"shape": (1, 8, 8), "num_classes": 3, "width": 4}
    build("python:my_networks.factory(num_classes=5)", (1, 8, 8), 3)
    assert seen["num_classes"] == 5
