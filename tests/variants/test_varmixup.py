"""VarMixup and its control: their reductions to input mixup, and the autoencoder they share (METHODS 7.2)."""

import statistics
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.datasets import make_moons
from torch import nn
from torch.nn import functional

from robusteval.core.errors import InputError
from robusteval.core.rng import Stream
from robusteval.data import DATA, Augmentation, Split
from robusteval.models import ARCHITECTURES, autoencoder
from robusteval.models.autoencoder import discrepancy
from robusteval.models.classifier import Classifier
from robusteval.variants import VARIANTS, Fitting
from robusteval.variants.mixup import Mixup
from robusteval.variants.mixup_reconstructed import ReconstructionMixer
from robusteval.variants.varmixup import CodeMixer

DIGITS = DATA.parse("digits").split("train")
FEW = DIGITS.first(64)
BATCH, CLASSES = FEW.batch(), 10
RNG = Stream.seeded(0).stream("step", 0)
NAMES = ["varmixup", "mixup-reconstructed"]
MIXERS = [CodeMixer, ReconstructionMixer]


def no_erm(epochs):
    raise AssertionError("no ERM network is needed")


def fitting(train=FEW, **changed):
    return Fitting(**{"train": train, "seed": 0, "erm": no_erm, "augmentation": Augmentation(), **changed})


def fitted(spec, **changed):
    """The frozen autoencoder of a variant."""
    return VARIANTS.parse(spec).prepared(fitting(**changed)).encode.__self__


def same(model, other):
    theirs = other.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in model.state_dict().items())


def nearest(mixer, split, step):
    """The mean distance of mixes to the nearest sample."""
    x = mixer.mix(split.batch(), len(split.classes), RNG.stream(step)).x
    return torch.cdist(x.flatten(1), split.images.flatten(1)).amin(dim=1).mean().item()


def small_cnn():
    return Classifier(ARCHITECTURES.parse("small-cnn").initialised(FEW.shape, CLASSES)).train()


@pytest.fixture(scope="module")
def heard():
    return []


@pytest.fixture(scope="module")
def mixer(heard):
    """Varmixup after its fit on all of digits."""
    return VARIANTS.parse("varmixup").prepared(fitting(DIGITS, progress=lambda *said: heard.append(said)))


class TestReductions:
    @pytest.mark.parametrize("make", MIXERS)
    @pytest.mark.parametrize("mixup", [Mixup(), Mixup(alpha=0.3), Mixup(per_sample=True)], ids=str)
    def test_an_identity_as_autoencoder_is_input_mixup_bit_for_bit(self, make, mixup):
        for step in range(3):
            rng = Stream.seeded(0).stream("step", step)
            ours, theirs = (each.mix(BATCH, CLASSES, rng) for each in (make(mixup, lambda x: x, lambda z: z), mixup))
            assert all(torch.equal(*pair) for pair in zip(ours[:3], theirs[:3], strict=True))

    def test_with_a_linear_decoder_it_does_not_matter_where_one_mixes(self):
        rows = DIGITS.batch().x.flatten(1)
        mean, axes = rows.mean(dim=0), torch.linalg.svd(rows - rows.mean(dim=0), full_matrices=False).Vh[:10]
        maps = (lambda x: (x.flatten(1) - mean) @ axes.T, lambda z: (z @ axes + mean).reshape(-1, 1, 8, 8))
        codes, reconstructions = (make(Mixup(), *maps).mix(BATCH, CLASSES, RNG) for make in MIXERS)
        torch.testing.assert_close(codes.x, reconstructions.x, atol=1e-5, rtol=0)
        assert torch.equal(codes.targets, reconstructions.targets)
        assert (codes.x - Mixup().mix(BATCH, CLASSES, RNG).x).abs().max() > 0.1

    @pytest.mark.parametrize("make", MIXERS)
    def test_whoever_meets_himself_is_reconstructed_with_his_own_label(self, make, mixer):
        alone = DIGITS.rows(slice(1)).batch()
        x, targets, weights, _ = make(Mixup(), mixer.encode, mixer.decode).mix(alone, CLASSES, RNG)
        assert torch.equal(x, mixer.decode(mixer.encode(alone.x)))
        assert not torch.equal(x, alone.x)
        assert torch.equal(targets, functional.one_hot(alone.y, CLASSES).float())
        assert weights == 1

    def test_the_two_differ_between_the_ends(self, mixer):
        control = ReconstructionMixer(mixer.mixup, mixer.encode, mixer.decode)
        ours, theirs = (each.mix(BATCH, CLASSES, RNG) for each in (mixer, control))
        assert torch.equal(ours.targets, theirs.targets)
        assert (ours.x - theirs.x).abs().max() > 0.05


class TestFit:
    def test_codes_are_near_standard_normal_in_every_dimension(self, mixer):
        codes = mixer.encode(DIGITS.batch().x)
        assert codes.mean(dim=0).abs().max() < 0.2
        assert codes.std(dim=0).min() > 0.9
        assert codes.std(dim=0).max() < 1.1
        prior = Stream.seeded(5).normal(DIGITS.ids, (codes.shape[1],))
        assert discrepancy(codes, prior) < 0.02

    def test_unseen_digits_are_reconstructed(self, mixer):
        x = DATA.parse("digits").split("test").batch().x
        error = ((mixer.decode(mixer.encode(x)) - x) ** 2).mean()
        assert error < x.var(dim=0).mean() / 4

    def test_every_epoch_is_heard(self, mixer, heard):
        assert heard == [("mmd-vae", done, 10) for done in range(1, 11)]

    def test_it_is_the_same_by_seed_and_leaves_the_global_generator(self):
        before = torch.get_rng_state()
        first, again, other = (fitted("varmixup", seed=seed) for seed in (0, 0, 1))
        assert torch.equal(torch.get_rng_state(), before)
        assert same(first, again)
        assert not same(first, other)

    def test_it_sees_augmented_images(self):
        assert not same(fitted("varmixup"), fitted("varmixup", augmentation=Augmentation(crop=1)))

    def test_mixes_on_two_moons_lie_nearer_the_data_than_those_of_inputs(self):
        shares = []
        for seed in range(3):
            points, labels = make_moons(1000, noise=0.05, random_state=seed)
            points = torch.from_numpy((points - points.min(axis=0)) / np.ptp(points, axis=0)).float()
            moons = Split(points[:, :, None, None], torch.from_numpy(labels), torch.arange(1000), ("upper", "lower"))
            mixers = [VARIANTS.parse("varmixup(latent=2, epochs=20)").prepared(fitting(moons, seed=seed)), Mixup()]
            away = [statistics.mean(nearest(mixer, moons, step) for step in range(10)) for mixer in mixers]
            shares.append(away[0] / away[1])
        assert statistics.median(shares) < 0.9


class TestFrozen:
    @pytest.mark.parametrize("name", NAMES)
    def test_an_epoch_of_the_classifier_leaves_the_autoencoder_alone(self, name):
        mixer, model = VARIANTS.parse(name).prepared(fitting()), small_cnn()
        frozen = mixer.encode.__self__
        before = {key: tensor.clone() for key, tensor in frozen.state_dict().items()}
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
        for step in range(4):
            loss = mixer.loss(model, FEW.batch(slice(16 * step, 16 * step + 16)), CLASSES, RNG.stream(step))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        assert not any(module.training for module in frozen.modules())
        assert all(parameter.grad is None for parameter in frozen.parameters())
        assert not any(parameter.requires_grad for parameter in frozen.parameters())
        assert all(torch.equal(tensor, before[key]) for key, tensor in frozen.state_dict().items())

    @pytest.mark.parametrize("make", MIXERS)
    def test_half_precision_is_left_to_the_classifier(self, make, mixer):
        tried = make(Mixup(), mixer.encode, mixer.decode)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = tried.mix(BATCH, CLASSES, RNG)
            loss, notes = tried.loss_with_notes(small_cnn(), BATCH, CLASSES, RNG)
        assert half.x.dtype == torch.float32
        assert torch.equal(half.x, tried.mix(BATCH, CLASSES, RNG).x)
        assert loss.isfinite()
        assert notes["reconstruction"].isfinite()

    def test_the_curves_show_the_error_of_the_reconstruction(self, mixer):
        notes = mixer.loss_with_notes(small_cnn(), BATCH, CLASSES, RNG).notes
        few = BATCH.x[:16]
        expected = functional.mse_loss(mixer.decode(mixer.encode(few)), few)
        torch.testing.assert_close(dict(notes), {"reconstruction": expected})


class TestCache:
    def test_both_share_one_fit(self, tmp_path):
        heard = []
        ours = fitting(cache=tmp_path, progress=lambda *said: heard.append(said))
        models = [VARIANTS.parse(name).prepared(ours).encode.__self__ for name in (*NAMES, "varmixup(alpha=0.2)")]
        assert len(heard) == 10
        assert len(list(tmp_path.iterdir())) == 1
        assert all(same(models[0], model) for model in models)

    @pytest.mark.parametrize(
        ("spec", "changed"),
        [
            ("varmixup", {"seed": 1}),
            ("varmixup", {"train": FEW.first(63)}),
            ("varmixup", {"augmentation": Augmentation(crop=1)}),
            ("varmixup(latent=8)", {}),
            ("varmixup(width=8)", {}),
            ("varmixup(epochs=2)", {}),
            ("varmixup(mmd=2.0)", {}),
        ],
        ids=["seed", "data", "augmentation", "latent", "width", "epochs", "mmd"],
    )
    def test_what_the_fit_depends_on_is_in_the_key(self, spec, changed, tmp_path):
        VARIANTS.parse("varmixup").prepared(fitting(cache=tmp_path))
        VARIANTS.parse(spec).prepared(fitting(cache=tmp_path, **changed))
        assert len(list(tmp_path.iterdir())) == 2

    def test_so_is_the_version_of_the_autoencoder(self, tmp_path, monkeypatch):
        VARIANTS.parse("varmixup").prepared(fitting(cache=tmp_path))
        monkeypatch.setattr(autoencoder, "VERSION", autoencoder.VERSION + 1)
        VARIANTS.parse("varmixup").prepared(fitting(cache=tmp_path))
        assert len(list(tmp_path.iterdir())) == 2

    def test_a_folder_that_cannot_be_written_is_said_before_the_fit(self, tmp_path):
        (tmp_path / "file").touch()
        heard = []
        blocked = fitting(cache=tmp_path / "file" / "cache", progress=lambda *said: heard.append(said))
        with pytest.raises(InputError, match="cache") as error:
            VARIANTS.parse("varmixup").prepared(blocked)
        assert "\n" not in str(error.value)
        assert not heard


@pytest.mark.parametrize("argument", ["alpha=0.0", "latent=0", "width=0", "epochs=0", "mmd=-1.0"])
@pytest.mark.parametrize("name", NAMES)
def test_settings_have_their_range(name, argument):
    with pytest.raises(InputError, match=f"{argument.partition('=')[0]}="):
        VARIANTS.parse(f"{name}({argument})")


def test_images_below_its_size_are_refused():
    with pytest.raises(InputError, match="at least 8x8"):
        fitted("varmixup", train=replace(FEW, images=FEW.images[:, :, :7]))


def test_it_is_not_trained_with_before_its_fit():
    with pytest.raises(RuntimeError, match="fitted nothing"):
        VARIANTS.parse("varmixup").loss(nn.Identity(), BATCH, CLASSES, RNG)
