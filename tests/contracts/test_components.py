"""What every component of every kind keeps (DESIGN 2 and 8)."""

import contextlib
import copy
import inspect
import pickle
import re
import sys
import types
import typing
from collections.abc import Iterator
from dataclasses import MISSING, FrozenInstanceError, fields
from pathlib import Path
from typing import Any

import pytest

from robusteval.attacks import ATTACKS, Attack
from robusteval.calibration import RECALIBRATORS
from robusteval.core.component import Component, Provider, Registry
from robusteval.core.errors import RobustevalError, SpecError
from robusteval.core.spec import Quotient
from robusteval.corruptions import CORRUPTIONS
from robusteval.data import DATA
from robusteval.engine import EXECUTORS
from robusteval.metrics import METRICS
from robusteval.models import ARCHITECTURES, checkpoint
from robusteval.models.classifier import Classifier
from robusteval.probes import PROBES, parse_view
from robusteval.reporting.plots import PLOTS
from robusteval.variants import VARIANTS

Kind = tuple[Registry[Any], type[Component]]

REGISTRIES = [ATTACKS, CORRUPTIONS, VARIANTS, METRICS, RECALIBRATORS, PROBES, ARCHITECTURES, DATA, EXECUTORS, PLOTS]
KINDS = [(registry, cls) for registry in REGISTRIES for cls in registry.classes.values()]

# Values of parameters whose meaning their type does not tell.
EXAMPLES = {
    "attack": "fgsm(eps=8/255)",
    "autoencoder": "source.safetensors",
    "corruption": "fog",
    "data": "moons",
    "eps": Quotient("4", "255"),
    "source": "source.safetensors",
    "target": "resnet18",
    "arguments": (("width", 2), ("rate", Quotient("1", "3"))),
}
# What a parameter means something with, by component.
BESIDE: dict[tuple[str, str], dict[str, Any]] = {
    ("between", "autoencoder"): {"path": "latent"},
    ("between", "path"): {"autoencoder": "source.safetensors"},
    ("local", "rate"): {"weight": "exponential"},
    ("local", "neighbours"): {"weight": "neighbours"},
    ("genlabel", "bandwidth"): {"density": "kde"},
}
FAMILIES = ["cifar", "mnist-c", "cifar10-c-bar"]
# What a component stands on, where that differs from the rest of its kind.
BASIS: dict[str, dict[str, Any]] = {"torchattacks": {"target": "PGD", "arguments": (("eps", Quotient("4", "255")),)}}
BY_TYPE = {bool: [True, False], int: [3, 4, 8, 10, 34], float: [Quotient("1", "3"), 2.5], str: ["some text"]}

NO_PAPER = {
    "clean": "the model as it is",
    "attacked": "its sources are those of the attack it is given",
    "corrupted": "its sources are those of the corruption it is given",
    "folder": "a container of the user's images",
    "npz": "a container of the user's images",
    "hf-parquet": "a container of the user's images",
}


@pytest.fixture(params=KINDS, ids=[f"{registry.kind}-{cls.name}" for registry, cls in KINDS])
def kind(request) -> Kind:
    return request.param


@pytest.fixture(autouse=True, scope="module")
def _source(tmp_path_factory):
    """A checkpoint, in the working directory, for components that read one."""
    network = ARCHITECTURES.parse("mlp").initialised((1, 4, 4), 2)
    with contextlib.chdir(tmp_path_factory.mktemp("source")):
        card = checkpoint.Card(architecture="mlp", classes=("a", "b"), shape=(1, 4, 4))
        checkpoint.save(Path("source.safetensors"), Classifier(network), card)
        yield


def candidates(name: str, hint: Any) -> list[Any]:
    """Values that a parameter may take."""
    if name in EXAMPLES:
        return [EXAMPLES[name]]
    if name == "family":
        return [None, *FAMILIES]
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return [value for option in typing.get_args(hint) for value in candidates(name, option)]
    if typing.get_origin(hint) is typing.Literal:
        return list(typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        return [tuple(candidates(name, typing.get_args(hint)[0])[:2])]
    return BY_TYPE.get(hint, [])


def examples(cls: type[Component]) -> Iterator[Component]:
    """The component with what it needs, then with each parameter away from its default in turn."""
    hints = typing.get_type_hints(cls)
    given = [field for field in fields(cls) if field.init]
    values = {field.name: candidates(field.name, hints[field.name]) for field in given}
    needed = {field.name: values[field.name][0] for field in given if field.default is MISSING} | BASIS.get(
        cls.name, {}
    )
    yield cls(**needed)
    for name, several in values.items():
        for value in several:
            component = built(cls, {**needed, **BESIDE.get((cls.name, name), {}), name: value})
            if component is not None:
                yield component


def built(cls: type[Component], arguments: dict[str, Any]) -> Component | None:
    """The component, or nothing where the values break its own rules."""
    try:
        return cls(**arguments)
    except RobustevalError:
        return None


def test_the_name_is_the_file(kind):
    _, cls = kind
    assert cls.name.replace("-", "_") == cls.__module__.rpartition(".")[2]
    assert re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", cls.name)
    assert isinstance(cls.version, int)
    assert cls.version >= 1


def test_it_is_documented_with_its_source(kind):
    registry, cls = kind
    assert "name" in vars(cls)
    assert inspect.cleandoc(vars(cls)["__doc__"])
    assert not vars(cls)["__doc__"].startswith(f"{cls.__name__}(")  # what dataclass writes where there is none
    page = sys.modules[cls.__module__].__doc__
    assert page
    if registry is not EXECUTORS and cls.name not in NO_PAPER:  # an executor measures nothing
        assert re.search(r"\b(1[89]|20)\d\d\b|arXiv:\d{4}\.\d{4,5}", page), "cite the author and the year"


def test_it_is_a_frozen_value(kind):
    registry, cls = kind
    assert cls.__dataclass_params__.frozen
    for component in examples(cls):
        assert hash(component) == hash(copy.copy(component))
        assert pickle.loads(pickle.dumps(component)) == component
    with pytest.raises(FrozenInstanceError):
        component.name = "another"
    assert issubclass(cls, registry.base)
    assert not inspect.isabstract(cls)


def test_its_spec_reads_back(kind):
    registry, cls = kind
    for component in examples(cls):
        again = parse_view(component.spec) if registry is PROBES else registry.parse(component.spec)
        assert again == component
        assert type(again) is cls
        assert again.spec == component.spec == str(component)


def test_every_parameter_was_tried(kind):
    _, cls = kind
    tried = list(examples(cls))
    for field in fields(cls):
        found = {getattr(component, field.name) for component in tried}
        only = field.name == "norm" and issubclass(cls, Attack) and len(cls.norms) == 1
        assert not field.init or only or len(found - {field.default}) > 0, field.name


def test_an_unknown_parameter_is_answered(kind):
    registry, cls = kind
    if not issubclass(cls, Provider):
        with pytest.raises(SpecError, match=f"{cls.name} has no parameter 'no_such'"):
            registry.parse(f"{cls.name}(no_such=1)")
