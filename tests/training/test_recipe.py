import pytest
from pydantic import ValidationError

from robusteval.core import config
from robusteval.data import DATA
from robusteval.models import ARCHITECTURES
from robusteval.training import Recipe

SHAPES = {
    "fashion-mnist": (1, 28, 28),
    "cifar10": (3, 32, 32),
    "tiny-imagenet": (3, 64, 64),
    "two-views(data='fashion-mnist')": (2, 28, 28),
}
SMALL = {"epochs": 3, "batch_size": 100, "lr": 0.1}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epochs", 0),
        ("batch_size", 1),
        ("lr", 0),
        ("momentum", 1),
        ("weight_decay", -1),
        ("schedule", "cosin"),
        ("validation", -0.1),
        ("validation", 1),
        ("ema", 1),
        ("precision", "fp8"),
        ("epoch", 3),
    ],
)
def test_a_value_outside_its_rule_is_refused(key, value):
    with pytest.raises(ValidationError, match=key):
        Recipe(**{**SMALL, key: value})


def test_the_settings_count_whole_batches():
    settings = Recipe(**SMALL, momentum=0).settings(250)
    assert (settings.epochs, settings.steps_per_epoch, settings.steps) == (3, 2, 6)
    assert (settings.lr, settings.nesterov, settings.schedule) == (0.1, False, "one-cycle")


def test_the_card_reads_back():
    recipe = Recipe(**SMALL, schedule="cosine", augment=False, validation=0.1)
    assert Recipe(**recipe.card()) == recipe
    assert not {"arch", "data"} & set(recipe.card())


@pytest.mark.parametrize("path", sorted((config.suites() / "train").glob("*.toml")), ids=lambda path: path.stem)
def test_the_packaged_recipes_fit(path):
    recipe = config.read(path, Recipe)
    ARCHITECTURES.parse(recipe.arch).build(SHAPES[recipe.data], 10)
    assert DATA.parse(recipe.data).spec == recipe.data
    assert 0 < recipe.validation < 0.2
    settings = recipe.settings(50_000)
    assert recipe.schedule == "constant" or settings.rate(settings.steps - 1) < 0.011 * recipe.lr
