"""AugMix: its operations against PIL, its laws, and its loss (METHODS 6.4)."""

import copy
import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from scipy import stats
from torch import nn
from torch.nn import functional

from robusteval.core.errors import InputError
from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.models import ARCHITECTURES
from robusteval.models.classifier import Classifier
from robusteval.variants import VARIANTS, augmix
from robusteval.variants.augmix import divergence
from robusteval.variants.operations import OPERATIONS, operated

N, CLASSES = 24, 5
RNG = Stream.seeded(0).stream("step", 0)
BILINEAR = Image.Resampling.BILINEAR


def affine(image, *matrix):
    return image.transform(image.size, Image.Transform.AFFINE, matrix, resample=BILINEAR)


THEIRS = {
    "autocontrast": lambda image, level, sign: ImageOps.autocontrast(image),
    "equalize": lambda image, level, sign: ImageOps.equalize(image),
    "posterize": lambda image, level, sign: ImageOps.posterize(image, 4 - int(level * 4 / 10)),
    "rotate": lambda image, level, sign: image.rotate(sign * int(level * 30 / 10), resample=BILINEAR),
    "solarize": lambda image, level, sign: ImageOps.solarize(image, 256 - int(level * 256 / 10)),
    "shear_x": lambda image, level, sign: affine(image, 1, sign * level * 0.03, 0, 0, 1, 0),
    "shear_y": lambda image, level, sign: affine(image, 1, 0, 0, sign * level * 0.03, 1, 0),
    "translate_x": lambda image, level, sign: affine(image, 1, 0, sign * int(level * image.width / 30), 0, 1, 0),
    "translate_y": lambda image, level, sign: affine(image, 1, 0, 0, 0, 1, sign * int(level * image.height / 30)),
}
BETWEEN_PIXELS = {"rotate", "shear_x", "shear_y"}


def pictures(shape, seed=0):
    """Noise in all shades and in few, smooth slopes, and flat images; uint8 [n, h, w, c]."""
    channels, height, width = shape
    generator = np.random.default_rng(seed)
    noise = generator.integers(0, 256, (40, height, width, channels), dtype=np.uint8)
    noise[10:20] = noise[10:20] // 7 + 60
    slope = np.linspace(0, 255, height * width).reshape(height, width, 1) * generator.random((10, 1, 1, channels))
    flat = np.broadcast_to(generator.integers(0, 256, (5, 1, 1, channels)), (5, height, width, channels))
    return np.concatenate([noise, slope.astype(np.uint8), flat.astype(np.uint8)])


def picture(pixels):
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def batch_of(shape=(1, 8, 8), n=N, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(256, (n, *shape), generator=generator) / 255
    return Batch(x, torch.randint(CLASSES, (n,), generator=generator), torch.arange(n) * 10 + 3)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 9, 14)])
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
def test_operations_are_those_of_pil(operation, shape):
    pixels, generator = pictures(shape), np.random.default_rng(1)
    level, sign = generator.uniform(0.1, 10, len(pixels)), generator.choice([1, -1], len(pixels))
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
    ours = operation(images, torch.from_numpy(level), torch.from_numpy(sign)).permute(0, 2, 3, 1).numpy()
    one = THEIRS[operation.__name__]
    rows = zip(pixels, level.tolist(), sign.tolist(), strict=True)
    theirs = [np.asarray(one(picture(image), *setting)).reshape(image.shape) for image, *setting in rows]
    difference = np.abs(ours - np.stack(theirs).astype(float))
    if operation.__name__ in BETWEEN_PIXELS:
        assert difference.max() <= 1
        assert (difference > 0).mean() < 0.02
    else:
        assert difference.max() == 0


def test_every_image_has_its_own_operation():
    images = torch.from_numpy(pictures((1, 8, 8))).permute(0, 3, 1, 2).float()
    chosen = torch.arange(len(images)) % (len(OPERATIONS) + 1) - 1
    level, sign = torch.linspace(0.1, 10, len(images), dtype=torch.float64), torch.ones(len(images))
    together = operated(images, chosen, level, sign)
    for row, number in enumerate(chosen.tolist()):
        one = [tensor[row : row + 1] for tensor in (images, level, sign)]
        expected = one[0] if number < 0 else OPERATIONS[number](*one)
        assert torch.equal(together[row : row + 1], expected)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32)])
def test_views_are_images_that_belong_to_their_sample(shape):
    batch = batch_of(shape)
    variant = VARIANTS.parse("augmix(severity=10.0)")
    views = variant.views(batch, RNG)
    assert views.shape == (2, *batch.x.shape)
    assert views.dtype == batch.x.dtype
    assert views.min() >= 0
    assert views.max() <= 1
    assert not torch.equal(views[0], views[1])
    some = torch.tensor([7, 3, 20])
    torch.testing.assert_close(variant.views(Batch(*(tensor[some] for tensor in batch)), RNG), views[:, some])


def painted(monkeypatch, shades):
    """Views of black images whose chains end in these shades: what is left are the shares; [2, n]."""

    def paint(images, chosen, level, sign):
        return torch.tensor(shades).repeat(len(images) // len(shades))[:, None, None, None] * torch.ones_like(images)

    monkeypatch.setattr(augmix, "operated", paint)
    batch = batch_of(n=2000)
    return VARIANTS.parse("augmix").views(batch._replace(x=torch.zeros_like(batch.x)), RNG)[:, :, 0, 0, 0]


def test_shares_follow_their_laws(monkeypatch):
    mixing = painted(monkeypatch, [255.0, 255.0, 255.0])
    assert stats.kstest(mixing.flatten().numpy(), "uniform").pvalue > 1e-3
    for chain in range(3):
        share = painted(monkeypatch, [255.0 * (number == chain) for number in range(3)]) / mixing
        assert stats.kstest(share.flatten().numpy(), stats.beta(1, 2).cdf).pvalue > 1e-3


def test_chains_are_one_to_three_operations_of_nine_at_their_levels(monkeypatch):
    seen = []
    monkeypatch.setattr(augmix, "operated", lambda images, *drawn: seen.append(drawn) or images)
    VARIANTS.parse("augmix").views(batch_of(n=500), RNG)
    chosen, level, sign = (torch.stack(tensors) for tensors in zip(*seen, strict=True))
    assert chosen.shape == (3, 500 * 6)
    length = (chosen >= 0).sum(dim=0)
    assert (chosen[1:] >= 0).logical_and(chosen[:-1] < 0).sum() == 0
    assert stats.chisquare(torch.bincount(length, minlength=4)[1:].numpy()).pvalue > 1e-3
    assert stats.chisquare(torch.bincount(chosen[chosen >= 0], minlength=9).numpy()).pvalue > 1e-3
    assert stats.kstest(level.flatten().numpy(), stats.uniform(0.1, 2.9).cdf).pvalue > 1e-3
    assert stats.chisquare(torch.bincount((sign.flatten() + 1) // 2).numpy()).pvalue > 1e-3


def test_the_divergence_is_jensen_shannons():
    generator = torch.Generator().manual_seed(3)
    p = torch.randn(3, 6, 4, generator=generator, dtype=torch.float64).softmax(dim=2)
    middle = p.mean(dim=0)
    expected = (p * (p / middle).log()).sum(dim=2).mean(dim=0)
    torch.testing.assert_close(divergence(p.log()), expected)
    entropies = torch.special.entr(p).sum(dim=2).mean(dim=0)
    torch.testing.assert_close(expected, torch.special.entr(middle).sum(dim=1) - entropies)
    apart = torch.eye(3).mul(200).log_softmax(dim=1)[:, None]
    torch.testing.assert_close(divergence(apart), torch.tensor([math.log(3)]))
    same = p[:1].log().expand(3, -1, -1)
    torch.testing.assert_close(divergence(same), torch.zeros(6, dtype=torch.float64))


def test_the_loss_is_its_two_terms_in_one_pass():
    batch, model = batch_of(), nn.Sequential(nn.Flatten(), nn.Linear(64, CLASSES))
    passes = []
    model.register_forward_hook(lambda module, inputs, output: passes.append(len(inputs[0])))
    variant = VARIANTS.parse("augmix(weight=5.0)")
    value = variant.loss(model, batch, CLASSES, RNG)
    assert passes == [3 * N]
    logits = [model(x) for x in (batch.x, *variant.views(batch, RNG))]
    drift = divergence(torch.stack(logits).log_softmax(dim=2)).mean()
    assert drift > 0
    torch.testing.assert_close(value, functional.cross_entropy(logits[0], batch.y) + 5 * drift)
    erm = functional.cross_entropy(logits[0], batch.y)
    torch.testing.assert_close(VARIANTS.parse("augmix(weight=0.0)").loss(model, batch, CLASSES, RNG), erm)


def test_predictions_that_are_sure_have_finite_gradients():
    batch, linear = batch_of(), nn.Linear(64, CLASSES)
    with torch.no_grad():
        linear.weight.mul_(10_000)
    VARIANTS.parse("augmix").loss(nn.Sequential(nn.Flatten(), linear), batch, CLASSES, RNG).backward()
    assert linear.weight.grad.isfinite().all()


def test_half_precision_gives_nearly_the_same_loss():
    batch = batch_of()
    model = Classifier(ARCHITECTURES.parse("small-cnn").initialised((1, 8, 8), CLASSES)).train()
    full = VARIANTS.parse("augmix").loss(copy.deepcopy(model), batch, CLASSES, RNG)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = VARIANTS.parse("augmix").loss(model, batch, CLASSES, RNG)
    half.backward()
    assert abs(half.item() - full.item()) < 0.1
    assert all(weight.grad.isfinite().all() for weight in model.parameters())


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("augmix(severity=11.0)", r"severity=11.0: must be in \[0.1, 10\]"),
        ("augmix(chains=0)", "chains=0: must be at least 1"),
        ("augmix(depth=0)", "depth=0: must be at least 1"),
        ("augmix(weight=-1.0)", "weight=-1.0: must be at least 0 and finite"),
    ],
)
def test_settings_have_their_range(spec, message):
    with pytest.raises(InputError, match=message):
        VARIANTS.parse(spec)
