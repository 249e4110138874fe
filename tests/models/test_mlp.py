import pytest
import torch

from robusteval.core.errors import InputError
from robusteval.data import DATA
from robusteval.models import ARCHITECTURES
from robusteval.models.architecture import Staged
from robusteval.training import Recipe, Training
from robusteval.variants import VARIANTS


def build(spec: str, shape: tuple[int, int, int], classes: int = 2, seed: int = 0) -> torch.nn.Module:
    return ARCHITECTURES.parse(spec).initialised(shape, classes, seed).eval()


@pytest.mark.parametrize("shape", [(2, 1, 1), (13, 1, 1), (3, 8, 6)])
def test_stages_and_head_are_the_network(shape: tuple[int, int, int]) -> None:
    network = build("mlp(widths=(5, 7))", shape, 4)
    assert isinstance(network, Staged)
    x = features = torch.rand(3, *shape)
    for stage, width in zip(network.stages, (5, 7), strict=True):
        features = stage(features)
        assert features.shape == (3, width, 1, 1)
        assert features.min() >= 0
    assert torch.equal(network.head(features), network(x))
    assert network(x).shape == (3, 4)


def test_it_has_its_number_of_parameters() -> None:
    count = sum(parameter.numel() for parameter in build("mlp", (2, 1, 1)).parameters())
    assert count == (2 + 1) * 64 + (64 + 1) * 128 + 2 * (128 + 1) * 128 + (128 + 1) * 2


def test_weights_depend_on_the_seed_alone() -> None:
    one, same, other = (build("mlp", (2, 1, 1), seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(tensor, same[name]) for name, tensor in one.items())
    assert not all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.mark.parametrize("widths", ["()", "(0,)", "(4, -1)"])
def test_widths_have_a_rule(widths: str) -> None:
    with pytest.raises(InputError, match="must be 1 or more, as in"):
        ARCHITECTURES.parse(f"mlp(widths={widths})")


@pytest.mark.parametrize("variant", ["erm", "mixup", "kmixup(k=8)", "manifold"])
def test_it_learns_the_moons(variant: str) -> None:
    data = DATA.parse("moons(samples=400)")
    recipe = Recipe(epochs=20, batch_size=50, lr=0.01, method="adam", weight_decay=0)
    model = Training(VARIANTS.parse(variant), data, ARCHITECTURES.parse("mlp(widths=(32, 32))"), recipe, 0).run()[0]
    test = data.split("test").batch()
    with torch.no_grad():
        assert (model(test.x).argmax(dim=1) == test.y).float().mean() > 0.85
    assert model.mean.shape == (1, 2, 1, 1)
