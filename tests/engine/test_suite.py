import shlex
from collections import Counter
from itertools import product
from pathlib import Path

import pytest

from robusteval.cli.train import slug
from robusteval.core import config
from robusteval.core.errors import RobustevalError
from robusteval.core.spec import split
from robusteval.corruptions import CORRUPTIONS
from robusteval.data import DATA
from robusteval.engine.suite import Group, Suite, load
from robusteval.probes.corrupted import Corrupted
from robusteval.training import Recipe
from robusteval.variants import VARIANTS


@pytest.mark.parametrize("name", sorted(path.stem for path in config.suites().glob("*.toml")))
def test_the_packaged_suites(name: str) -> None:
    suite = load(name)
    assert suite.name == name
    assert suite.description
    assert "clean" in {probe.spec for probe, _ in suite.probes}


@pytest.mark.parametrize(
    ("name", "sets", "views"),
    [
        ("standard", {"noise": 3, "blur": 4, "weather": 4, "digital": 4}, 75),
        ("extra", {"extra": 4}, 20),
        ("c-bar", {"cifar10-c-bar": 10}, 50),
    ],
)
def test_trust_r21_a_suite_has_every_corruption_of_its_set_at_every_severity(
    name: str, sets: dict[str, int], views: int
) -> None:
    probes = [probe for probe, _ in load(name).probes if isinstance(probe, Corrupted)]
    corruptions = {probe.corruption: CORRUPTIONS.parse(probe.corruption) for probe in probes}
    assert Counter(corruption.category for corruption in corruptions.values()) == sets
    assert Counter(corruption.category for corruption in CORRUPTIONS.classes.values()) >= Counter(sets)
    assert {(probe.corruption, probe.severity) for probe in probes} == set(product(corruptions, range(1, 6)))
    assert len(probes) == views


def test_mnist_c_has_its_own_constants() -> None:
    probes = [probe for probe, _ in load("mnist-c").probes if isinstance(probe, Corrupted)]
    assert len(probes) == 15
    assert {CORRUPTIONS.parse(probe.corruption).family_of(28) for probe in probes} == {"mnist-c"}
    assert {probe.severity for probe in probes} == {1}


def test_stored_images_stand_in_for_generated_ones() -> None:
    suite = load("standard")
    stored = suite.stored()
    views, others = ([probe.spec for probe, _ in each.probes] for each in (suite, stored))
    assert others == [f"official:{view}" if "@" in view else view for view in views]
    assert [group.samples for group in stored.views] == [None, 1000]
    assert stored.stored() == stored


@pytest.mark.parametrize("path", sorted((config.suites() / "papers").glob("*.toml")), ids=lambda path: path.stem)
def test_the_paper_suites_measure_what_their_command_trains(path: Path) -> None:
    suite = load(f"papers/{path.stem}")
    assert "clean" in {probe.spec for probe, _ in suite.probes}
    program, verb, *words = shlex.split(suite.train)
    assert (program, verb) == ("robusteval", "train")
    options = dict(zip(words[::2], words[1::2], strict=True))
    recipe = config.read(config.find("recipe", options.get("--recipe", "small"), config.suites() / "train"), Recipe)
    data = DATA.parse(options.get("--data", recipe.data))
    variants = [VARIANTS.parse(spec).spec for spec in split(options["--variant"])]
    folder = options.get("--out", f"checkpoints/{data.name}")
    assert list(suite.checkpoints) == [f"{folder}/{slug(variant)}-seed*.safetensors" for variant in variants]
    comments = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert any("robusteval train --recipe" in line for line in comments)


@pytest.mark.parametrize(
    ("suite", "group", "available", "asked", "expected"),
    [
        ("all", None, 900, None, 900),
        ("all", 100, 900, None, 100),
        (1000, None, 900, None, 900),
        (500, 100, 900, None, 100),
        (50, 100, 900, None, 50),
        (500, 100, 900, "all", 100),
        (500, None, 900, "all", 900),
        (500, 100, 900, 30, 30),
    ],
)
def test_sizes(suite: int | str, group: int | None, available: int, asked: int | str | None, expected: int) -> None:
    found = Suite(name="tiny", samples=suite, views=(Group(specs=("clean",), samples=group),))
    assert found.size(found.views[0], available, asked) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sample = 3\n[[views]]\nspecs = ['clean']", r"line 1: sample: .*did you mean 'samples'"),
        ("samples = 0\n[[views]]\nspecs = ['clean']\nsamples = 0", r"line \d: views.0.samples"),
        ("# fogg@3\n[[views]]\nspecs = [\n  'clean',\n  'fogg@3',\n]", r"line 5: .*fogg.*did you mean 'fog'"),
        ('[[views]]\nspecs = ["clean", "fog"]', r"line 2: .*needs its severity, as in fog@3"),
        ('[[views]]\nspecs = ["clean",\n"fog@6"]', r"line 3: .*severity=6"),
        ('[[views]]\nspecs = ["pgd(eps=8)"]', r"line 2: eps=8"),
        ('[[views]]\nspecs = ["pgd(eps=8/255, step_size=1)"]', r"line 2: .*no parameter 'step_size'"),
        ('[[views]]\nspecs = ["clean", "clean"]', r"line 2: the view 'clean' is named twice"),
        ("views = []", r"views"),
        ("description = 'nothing'", r"views: is required"),
        ("[[views]\n", r"line 1"),
    ],
)
def test_a_wrong_suite_names_its_line(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(text)
    with pytest.raises(RobustevalError, match=said) as caught:
        load(str(file))
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
