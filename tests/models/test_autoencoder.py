"""The MMD-VAE: its shapes, its starting weights, and the discrepancy that shapes its codes (METHODS 2.4 and 7.2)."""

import pytest
import torch

from robusteval.core.errors import InputError
from robusteval.models import ARCHITECTURES
from robusteval.models.autoencoder import discrepancy, initialised, objective, squared_error

GENERATOR = torch.Generator().manual_seed(0)
SHAPES = [(1, 28, 28), (3, 32, 32), (3, 64, 64), (1, 8, 8), (3, 9, 13), (1, 33, 8), (2, 1, 1), (20, 1, 1)]


def normal(n, d):
    return torch.randn(n, d, generator=GENERATOR)


def images(n, shape):
    return torch.rand(n, *shape, generator=GENERATOR)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_codes_and_images_have_their_shapes(shape):
    model, x = initialised(shape, latent=5, width=4), images(6, shape)
    assert model.encode(x).shape == (6, 5)
    for codes in (model.encode(x), 100 * normal(6, 5)):
        decoded = model.decode(codes)
        assert decoded.shape == x.shape
        assert decoded.min() >= 0
        assert decoded.max() <= 1
    assert torch.equal(model.eval()(x), model.decode(model.encode(x)))


@pytest.mark.parametrize(("shape", "coarsest"), [((1, 28, 28), 7), ((3, 32, 32), 4), ((3, 64, 64), 4), ((1, 8, 8), 2)])
def test_stages_go_down_to_a_few_pixels(shape, coarsest):
    sizes = []
    model = initialised(shape, latent=5, width=4)
    for module in model.encoder:
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(lambda _module, _inputs, output: sizes.append(output.shape[3]))
    model(images(2, shape))
    assert sizes[-1] == coarsest
    assert len(sizes) >= 2


def test_starting_weights_go_by_the_seed_and_leave_the_global_generator():
    before = torch.get_rng_state()
    first, again, other = (initialised((1, 8, 8), 5, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["encoder.0.weight"], other["encoder.0.weight"])


@pytest.mark.parametrize("shape", [(1, 8, 8), (4, 1, 1)], ids=str)
@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_the_objective_reaches_every_weight(shape, weight):
    model, x = initialised(shape, latent=3), images(8, shape)
    loss = objective(model, x, normal(8, 3), weight)
    assert loss.shape == ()
    assert loss.dtype == torch.float32
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_the_objective_is_the_error_plus_the_weighted_discrepancy():
    model, x, prior = initialised((1, 8, 8), latent=3).eval(), images(8, (1, 8, 8)), normal(8, 3)
    expected = squared_error(model(x), x) + 2 * discrepancy(model.encode(x), prior)
    torch.testing.assert_close(objective(model, x, prior, 2.0), expected.float())
    torch.testing.assert_close(squared_error(model(x), x), torch.nn.functional.mse_loss(model(x), x))


@pytest.mark.parametrize("shape", [(1, 7, 8), (3, 8, 1), (3, 1, 2)], ids=str)
def test_small_images_are_refused(shape):
    with pytest.raises(InputError, match="at least 8x8"):
        initialised(shape, 4)


@pytest.mark.parametrize("sizes", [{"latent": 0}, {"latent": 4, "width": 0}], ids=str)
def test_empty_layers_are_refused(sizes):
    with pytest.raises(InputError, match="at least 1"):
        initialised((1, 8, 8), **sizes)


def test_no_spec_names_it():
    assert "autoencoder" not in ARCHITECTURES


class TestDiscrepancy:
    def test_it_is_the_mean_over_all_pairs(self):
        a, b = normal(5, 3).double(), normal(4, 3).double() + 1

        def kernel(rows, columns):
            return sum(torch.exp(-((r - c) ** 2).sum() / 6) for r in rows for c in columns) / len(rows) / len(columns)

        torch.testing.assert_close(discrepancy(a, b), kernel(a, a) + kernel(b, b) - 2 * kernel(a, b))

    def test_identical_samples_have_none(self):
        a = normal(50, 16)
        assert discrepancy(a, a.clone()) == 0

    def test_it_rises_with_a_shift_of_the_mean_and_with_another_spread(self):
        a, b = normal(400, 16), normal(400, 16)
        shifted = [discrepancy(a + shift, b).item() for shift in (0, 0.25, 0.5, 1, 2)]
        assert shifted == sorted(shifted)
        assert 0 <= shifted[0] < 0.01 < shifted[2]
        assert all(discrepancy(scale * a, b) > 5 * shifted[0] for scale in (0.5, 2.0))

    def test_the_bandwidth_of_the_published_code_is_blind_in_many_dimensions(self):
        """With d^2 the kernel is about exp(-2 / d), so a shift by one standard deviation is hardly seen."""
        d = 128
        a, b = normal(400, d) + 1, normal(400, d)
        assert discrepancy(a, b, d**2) < 0.02
        assert discrepancy(a, b) > 0.25

        def pull(bandwidth):
            moved = a.clone().requires_grad_(True)
            discrepancy(moved, b, bandwidth).backward()
            return moved.grad.norm()

        assert pull(d**2) < pull(None) / 5
