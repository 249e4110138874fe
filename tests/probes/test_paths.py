"""Paths between samples that a checkpoint's card names: k-mixup's partners, VarMixup's codes."""

import pytest
import safetensors.torch
import torch
from torch import nn

from robusteval.core.errors import CheckpointError, InputError
from robusteval.data import DATA
from robusteval.engine.plan import Settings, cells
from robusteval.engine.run import Run
from robusteval.engine.serial import Serial
from robusteval.engine.sources import DataSource, ModelSource
from robusteval.engine.suite import Group, Suite
from robusteval.models import ARCHITECTURES, checkpoint
from robusteval.models.autoencoder import Autoencoder, initialised
from robusteval.models.checkpoint import Card, Loaded
from robusteval.models.classifier import Classifier
from robusteval.models.foreign import Description
from robusteval.models.loading import describe
from robusteval.probes import between
from robusteval.probes.between import Between
from robusteval.probes.paths import KMIXUP_K, Pairing, Route, drawn, is_coded, matched, pairing_of, read_codec
from robusteval.variants import VARIANTS

X = torch.rand(60, 1, 8, 8, generator=torch.Generator().manual_seed(0))
Y = torch.arange(60) % 4
SHAPE = (1, 8, 8)


def measured(probe, subject, rng):
    (measurement,) = probe.measure(subject, rng)
    return measurement.frame


def of(subject, variant=None, batch_size=64, order=None, x=X):
    one = subject(linear(), x, Y, batch_size)
    batch = one.batch if order is None else type(one.batch)(*(tensor[order] for tensor in one.batch))
    return type(one)(one.model, one.form, batch, one.data, one.passes, variant=variant)


def linear():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 4)).eval()


def stored(path, shape=SHAPE, latent=3, width=2, seed=0, gain=1.0):
    """Starting weights; with a gain the decoder bends the path."""
    tensors = initialised(shape, latent, width, seed).state_dict()
    raised = {name: gain * tensor if name.startswith("decoder") else tensor for name, tensor in tensors.items()}
    safetensors.torch.save_file(raised, path)
    return str(path)


@pytest.fixture
def codec(tmp_path):
    return stored(tmp_path / "mmd-vae-0.safetensors", gain=8.0)


class Halves(Autoencoder):
    """Codes that are half the image: a linear codec, whose reconstructions are the images."""

    def __init__(self):
        decoder = nn.Sequential(nn.Linear(64, 64, bias=False), nn.Unflatten(1, SHAPE))
        super().__init__(nn.Sequential(nn.Flatten(), nn.Linear(64, 64, bias=False)), decoder)
        self.encoder[1].weight.data.copy_(0.5 * torch.eye(64))
        self.decoder[0].weight.data.copy_(2 * torch.eye(64))


class TestCard:
    @pytest.mark.parametrize(
        ("variant", "pairing"),
        [
            (None, Pairing()),
            ("mixup(alpha=0.2)", Pairing()),
            ("other:kmixup(k=3)", Pairing()),
            ("kmixup", Pairing(KMIXUP_K)),
            ("kmixup(alpha=10.0, k=5)", Pairing(5)),
            ("kmixup(k=5, cost='distance')", Pairing(5, squared=False)),
        ],
    )
    def test_the_pairing_of_a_variant(self, variant, pairing):
        assert pairing_of(variant) == pairing

    def test_the_names_and_defaults_are_those_of_the_variants(self):
        kmixup = VARIANTS.parse("kmixup")
        assert pairing_of(kmixup.spec) == Pairing(kmixup.k, kmixup.cost == "squared")
        assert [name for name in VARIANTS.classes if is_coded(name)] == ["varmixup"]

    def test_kmixup_is_measured_between_its_matched_partners(self, subject, rng):
        ours = measured(Between(path="card"), of(subject, "kmixup(k=5)"), rng)
        assert ours.equals(measured(Between(k=5), of(subject), rng))
        assert not ours.equals(measured(Between(), of(subject), rng))

    def test_the_distance_itself_matches_others(self, subject, rng):
        x = X * (torch.arange(64) < 2).reshape(SHAPE)  # in a plane, where the two costs disagree
        batch = of(subject, x=x).batch
        squared, plain = (matched(batch, 30, rng, which) for which in (True, False))
        assert not all(torch.equal(squared[kind], plain[kind]) for kind in squared)
        by_card = measured(Between(path="card"), of(subject, "kmixup(k=30, cost='distance')", x=x), rng)
        assert by_card["neither_within"].notna().tolist() == (plain["within"] >= 0).tolist()

    @pytest.mark.parametrize("variant", [None, "erm", "mixup", "manifold(alpha=2.0)"])
    def test_other_variants_are_measured_as_ever(self, subject, rng, variant):
        expected = measured(Between(), of(subject), rng)
        assert measured(Between(path="card"), of(subject, variant), rng).equals(expected)

    def test_varmixup_needs_its_autoencoder(self, subject, rng, codec):
        with pytest.raises(InputError, match=r"of varmixup\(alpha=2.0\), and holds no autoencoder: name the mmd-vae-"):
            measured(Between(path="card"), of(subject, "varmixup(alpha=2.0)"), rng)
        given = measured(Between(path="card", autoencoder=codec), of(subject, "varmixup"), rng)
        assert given.equals(measured(Between(path="latent", autoencoder=codec), of(subject), rng))
        straight = measured(Between(path="card", autoencoder=codec), of(subject, "mixup"), rng)
        assert straight.equals(measured(Between(), of(subject), rng))


class TestLatent:
    def test_a_linear_codec_and_a_linear_model_do_not_deviate(self, subject, rng, codec, monkeypatch):
        monkeypatch.setattr(between, "read_codec", lambda path, shape: Halves())
        found = measured(Between(path="latent", autoencoder=codec), of(subject), rng)
        straight = measured(Between(), of(subject), rng)
        assert found.filter(like="logit_deviation").max(axis=None) < 1e-5
        assert found.filter(like="probability").to_numpy() == pytest.approx(
            straight.filter(like="probability").to_numpy(), abs=1e-5
        )

    def test_columns_by_hand(self, subject, rng, codec):
        """The ends are reconstructions, and the point between is the decoded mean of the codes."""
        one, model = of(subject), linear()
        found = measured(Between(path="latent", autoencoder=codec, points=1), one, rng)
        vae, partner = read_codec(codec, SHAPE), drawn(one.batch, rng.stream("between"))["across"]
        codes = vae.encode(X)
        middle = vae.decode((codes + codes[partner]) / 2).requires_grad_(True)
        there, ends = model(middle).double(), model(vae.decode(codes)).double()
        offset = (there - (ends + ends[partner]) / 2).detach()
        expected = (offset - offset.mean(dim=1, keepdim=True)).norm(dim=1)
        deviation = torch.tensor(found["logit_deviation_across"].to_numpy())
        torch.testing.assert_close(deviation, expected, rtol=1e-4, atol=1e-6)
        assert expected.max() > 1e-3
        losses = [nn.functional.cross_entropy(there, labels, reduction="sum") for labels in (Y, Y[partner])]
        (slope,) = torch.autograd.grad(sum(losses) / 2, middle)
        norms = torch.tensor(found["gradient_norm_across"].to_numpy())
        torch.testing.assert_close(norms, slope.flatten(1).norm(dim=1).double(), rtol=1e-4, atol=1e-6)

    def test_order_and_batch_size_change_no_bit(self, subject, rng, codec):
        probe, order = Between(path="latent", autoencoder=codec, points=2), torch.randperm(60)
        expected = measured(probe, of(subject), rng)
        other = measured(probe, of(subject, batch_size=7, order=order), rng)
        assert other.sort_values("sample", ignore_index=True).equals(expected)

    @pytest.mark.parametrize("shape", [SHAPE, (3, 12, 10), (5, 1, 1)])
    def test_an_autoencoder_is_read_back(self, tmp_path, shape):
        path = stored(tmp_path / "vae.safetensors", shape, latent=4, width=3, seed=1)
        found, expected = read_codec(path, shape), initialised(shape, 4, 3, 1).eval()
        x = torch.rand(6, *shape)
        assert torch.equal(found(x), expected(x))
        assert not found.training

    def test_another_file_is_refused(self, tmp_path, codec):
        with pytest.raises(CheckpointError, match="is not an autoencoder of images of 3x8x8"):
            read_codec(codec, (3, 8, 8))
        safetensors.torch.save_file({"weight": torch.zeros(3)}, tmp_path / "other.safetensors")
        with pytest.raises(CheckpointError, match="name an mmd-vae"):
            read_codec(tmp_path / "other.safetensors", SHAPE)
        (tmp_path / "text.safetensors").write_text("nothing")
        with pytest.raises(CheckpointError, match="damaged"):
            read_codec(tmp_path / "text.safetensors", SHAPE)

    def test_the_file_is_in_the_key(self, tmp_path, codec):
        probe = Between(path="latent", autoencoder=codec)
        before = probe.depends
        stored(codec, seed=1)
        assert len({before, probe.depends, Between().depends}) == 3
        assert Between().depends == ""

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"path": "latent"}, "autoencoder=None: path='latent' needs an mmd-vae-"),
            ({"path": "latent", "autoencoder": "none.safetensors"}, "autoencoder='none.safetensors': there is no such"),
            ({"autoencoder": "none.safetensors"}, "is for path='latent' or path='card'"),
            ({"path": "card", "k": 3}, "k=3: is for path='straight', and here it is 'card'"),
        ],
    )
    def test_a_wrong_parameter_is_answered_with_the_rule(self, wrong, message):
        with pytest.raises(InputError, match=message):
            Between(**wrong)


def test_a_straight_route_mixes_pixels_bit_for_bit():
    one, other = torch.arange(5), torch.arange(5, 10)
    assert torch.equal(Route.straight(X).at(one, other, 0.3), 0.3 * X[one] + (1 - 0.3) * X[other])


def test_the_cards_variant_is_in_the_key_of_what_reads_it():
    split = DATA.parse("digits").split("test")

    def keys(variant):
        card = Card(architecture="a", classes=split.classes, shape=split.shape, variant=variant)
        suite = Suite(name="t", views=(Group(specs=("between", "between(path='card')")),), samples=20)
        loaded = Loaded(nn.Identity(), card, "d")
        source = ModelSource("m", DataSource("digits"))
        return [cell.key for cell in cells(suite, [(source, loaded, split)], Settings())]

    one, other = keys("kmixup(k=4)"), keys("mixup")
    assert one[0] == other[0]
    assert one[1] != other[1]


def test_a_run_hands_the_card_to_the_probe(tmp_path):
    split, views = DATA.parse("digits").split("test"), ("between(path='card')", "between(k=4)", "between")
    network = ARCHITECTURES.parse("mlp").initialised(split.shape, len(split.classes))
    card = Card(architecture="mlp", classes=split.classes, shape=split.shape, data="digits", variant="kmixup(k=4)")
    checkpoint.save(tmp_path / "m.safetensors", Classifier(network), card)
    described = describe(tmp_path / "m.safetensors", Description())
    source = ModelSource("m", DataSource("digits"), tmp_path / "m.safetensors", described)
    suite = Suite(name="t", views=(Group(specs=views),), samples=40)
    metrics = Run(suite, [source], Settings(), Serial()).into(tmp_path / "report", warn=lambda line: None)
    by_card, by_k, straight = (metrics[metrics["view"] == view]["value"].tolist() for view in views)
    assert by_card == by_k != straight
