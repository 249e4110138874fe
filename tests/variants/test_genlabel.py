"""GenLabel: its reduction to mixup, its labels, and where its densities come from (METHODS 7.4)."""

import copy
import statistics

import pytest
import torch
from scipy.spatial import KDTree
from sklearn import datasets
from torch import nn

from robusteval.core.errors import InputError
from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.data import DATA, Augmentation, Split
from robusteval.models import ARCHITECTURES
from robusteval.models.classifier import Classifier
from robusteval.models.fit import Settings, fit
from robusteval.variants import VARIANTS, Fitting
from robusteval.variants.densities import Gaussians, moments, posterior
from robusteval.variants.genlabel import penultimate

DIGITS = DATA.parse("digits").split("train").first(200)
BATCH = DIGITS.first(64).batch()
CLASSES = 10
MEET = 3  # a step at which two samples are each other's partners


class Warm:
    """Stands in for an ERM network, and remembers for how many epochs it was asked."""

    key = "a recipe"

    def __init__(self, network=None):
        self.asked = []
        network = network or ARCHITECTURES.parse("small-cnn").initialised(DIGITS.shape, CLASSES)
        self.model = Classifier(network, (0.4,), (0.3,)).eval()

    def __call__(self, epochs):
        self.asked.append(epochs)
        return self.model


def rng(step=0):
    return Stream.seeded(0).stream("step", step)


def fitting(train=DIGITS, erm=None, cache=None):
    return Fitting(train, seed=0, erm=erm or Warm(), augmentation=Augmentation(), cache=cache)


def prepared(spec, train=DIGITS, erm=None):
    return VARIANTS.parse(spec).prepared(fitting(train, erm))


def classifier():
    return Classifier(ARCHITECTURES.parse("small-cnn").initialised(DIGITS.shape, CLASSES, 1), (0.4,), (0.3,)).train()


def vectors(points, labels, classes):
    """A split of points in [0, 1], each [d, 1, 1]."""
    names = tuple(str(label) for label in range(classes))
    return Split(points.to(torch.float32)[:, :, None, None], labels, torch.arange(len(points)), names)


def grid(each=100):
    """Nine classes on a 3 x 3 grid of spacing 10 and covariance 0.1 I, scaled into [0, 1]; the means as well."""
    means = torch.cartesian_prod(*[torch.tensor([5.0, 15.0, 25.0])] * 2) / 30
    labels = torch.arange(9 * each) % 9
    noise = torch.randn(len(labels), 2, generator=torch.Generator().manual_seed(0)) * 0.1**0.5 / 30
    return vectors(means[labels] + noise, labels, 9), means


@pytest.mark.parametrize("density", ["density='gaussian'", "density='kde'"])
@pytest.mark.parametrize("space", ["features", "inputs"])
@pytest.mark.parametrize("draws", ["alpha=1.0", "alpha=0.3, per_sample=True"])
def test_without_gamma_it_is_mixup_bit_for_bit(density, space, draws):
    ours = prepared(f"genlabel(gamma=0.0, {density}, space='{space}', {draws})")
    theirs = VARIANTS.parse(f"mixup({draws})")
    for step in range(3):
        mixes = [variant.mix(BATCH, CLASSES, rng(step))[:3] for variant in (ours, theirs)]
        assert all(torch.equal(*pair) for pair in zip(*mixes, strict=True))
        losses, gradients = [], []
        for variant in (ours, theirs):
            model = classifier()
            losses.append(variant.loss(model, BATCH, CLASSES, rng(step)))
            gradients.append(torch.autograd.grad(losses[-1], list(model.parameters())))
        assert torch.equal(*losses)
        assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))


def test_the_loss_is_affine_in_gamma():
    losses = [prepared(f"genlabel(gamma={gamma})").loss(classifier(), BATCH, CLASSES, rng()) for gamma in (0, 0.25, 1)]
    assert abs(losses[0] - losses[2]) > 0.01
    torch.testing.assert_close(losses[1], 0.75 * losses[0] + 0.25 * losses[2])


@pytest.mark.parametrize("spec", ["density='gaussian'", "density='kde'", "space='inputs'", "per_sample=True"])
def test_the_labels_draw_no_lambda(spec):
    ours = prepared(f"genlabel(gamma=1.0, {spec})")
    theirs = VARIANTS.parse("mixup(per_sample=True)" if "per_sample" in spec else "mixup")
    for step in range(5):
        assert torch.equal(ours.mix(BATCH, CLASSES, rng(step)).x, theirs.mix(BATCH, CLASSES, rng(step)).x)


class TestLabels:
    def test_mixing_across_a_third_class_gives_that_class(self):
        """At -10, 0, 10 with variance 0.1, scaled into [0, 1]: the middle of the outer two is the second class."""
        offsets = torch.tensor([-1.0, 1.0]) * (0.1 / 2) ** 0.5
        points = (torch.tensor([-10.0, 0.0, 10.0])[:, None] + offsets).flatten()
        train = vectors((points[:, None] + 15) / 30, torch.arange(3).repeat_interleave(2), 3)
        middle = torch.full((1, 1, 1, 1), 0.5, dtype=torch.float64)
        label = prepared("genlabel(gamma=1.0, shrinkage=0.0)", train).generated(middle)[0]
        assert label[[0, 2]].max() < 1e-200
        assert label[1] == 1
        ends = Batch(torch.tensor([5.0, 25.0]).reshape(2, 1, 1, 1) / 30, torch.tensor([0, 2]), torch.arange(2))
        specs = ("genlabel(alpha=1e4, gamma=1.0)", "mixup(alpha=1e4)")
        ours, theirs = (prepared(spec, train).mix(ends, 3, rng(MEET)).targets for spec in specs)
        torch.testing.assert_close(ours, torch.tensor([[0.0, 1.0, 0.0]] * 2))
        torch.testing.assert_close(theirs, torch.tensor([[0.5, 0.0, 0.5]] * 2), rtol=0, atol=0.03)

    @pytest.mark.parametrize("settings", ["covariance='full'", "covariance='tied'", "covariance='tied', labels='top2'"])
    def test_no_label_forgets_the_nearest_class_of_a_grid(self, settings):
        train, means = grid()
        variant, without = prepared(f"genlabel(gamma=1.0, {settings})", train), [0, 0]
        for step in range(3):
            for number, mixer in enumerate((variant, VARIANTS.parse("mixup"))):
                x, targets, _, _ = mixer.mix(train.batch(), 9, rng(step))
                nearest = torch.cdist(x.flatten(1), means).argmin(dim=1, keepdim=True)
                without[number] += int((targets.gather(1, nearest) == 0).sum())
        assert without[0] == 0
        assert without[1] > 0.1 * 3 * len(train)

    def test_top_two_leave_nothing_to_the_others(self):
        both = prepared("genlabel(gamma=1.0, labels='top2')").mix(BATCH, CLASSES, rng()).targets
        everyone = prepared("genlabel(gamma=1.0)").mix(BATCH, CLASSES, rng()).targets
        assert ((both > 0).sum(dim=1) <= 2).all()
        assert ((everyone > 0).sum(dim=1) > 2).any()
        assert torch.equal(both.argmax(dim=1), everyone.argmax(dim=1))

    def test_a_class_that_is_absent_gets_no_mass(self):
        known = DIGITS.rows(DIGITS.labels != 3)
        for spec in ("genlabel(gamma=1.0)", "genlabel(gamma=1.0, density='kde', covariance='full')"):
            targets = prepared(spec, known).mix(known.batch(slice(64)), CLASSES, rng()).targets
            assert (targets[:, 3] == 0).all()
            torch.testing.assert_close(targets.sum(dim=1), torch.ones(64))

    def test_the_curves_show_their_entropy(self):
        variant = prepared("genlabel(gamma=0.0)")
        targets = variant.mix(BATCH, CLASSES, rng()).targets
        note = variant.loss_with_notes(classifier(), BATCH, CLASSES, rng()).notes["label_entropy"]
        torch.testing.assert_close(note, torch.special.entr(targets).sum(dim=1).mean())


class TestSpace:
    @pytest.mark.parametrize(
        "architecture", ["small-cnn", "resnet-cifar(depth=8)", "preact-resnet", "wide-resnet(depth=10, width=1)"]
    )
    def test_features_are_what_the_last_linear_layer_takes(self, architecture):
        model = Warm(ARCHITECTURES.parse(architecture).initialised(DIGITS.shape, CLASSES)).model
        taken = []
        last = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
        hook = last.register_forward_pre_hook(lambda _, inputs: taken.append(inputs[0]))
        with torch.no_grad():
            model(BATCH.x)
        hook.remove()
        features = penultimate(model, BATCH.x[:8])
        assert features(BATCH.x).shape == (64, last.in_features)
        torch.testing.assert_close(features(BATCH.x), taken[0], rtol=1e-4, atol=1e-4)
        assert not any(weight.requires_grad for weight in features.parameters())

    def test_the_density_is_taken_at_features_of_the_mixed_input(self):
        warm = Warm()
        features = penultimate(warm.model, BATCH.x)
        found = moments(features(DIGITS.batch().x), DIGITS.labels, CLASSES, tied=True)
        x = VARIANTS.parse("mixup").mix(BATCH, CLASSES, rng()).x
        expected = posterior(Gaussians.of(found, 0.1)(features(x)))
        ours = prepared("genlabel(gamma=1.0)", erm=warm).mix(BATCH, CLASSES, rng())
        torch.testing.assert_close(ours.targets, expected.float())

    def test_inputs_ask_for_no_network(self):
        warm = Warm()
        prepared("genlabel(space='inputs')", erm=warm)
        prepared("genlabel", grid(5)[0], erm=warm)
        assert warm.asked == []
        prepared("genlabel(warmup=7)", erm=warm)
        assert warm.asked == [7]

    def test_vectors_may_have_features(self):
        train, _ = grid(20)
        mlp = nn.Sequential(nn.Flatten(), nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 9))
        mixed = prepared("genlabel(space='features')", train, Warm(mlp)).mix(train.batch(), 9, rng())
        torch.testing.assert_close(mixed.targets.sum(dim=1), torch.ones(len(train)))

    @pytest.mark.parametrize(
        "network",
        [
            nn.Sequential(nn.Conv2d(1, CLASSES, 8), nn.Flatten()),
            nn.Sequential(nn.Flatten(), nn.Linear(64, CLASSES), nn.Softmax(dim=1)),
        ],
    )
    def test_a_network_with_another_end_is_refused(self, network):
        message = "architecture='Sequential': genlabel needs a network that ends in a linear layer, or space='inputs'"
        with pytest.raises(InputError, match=message):
            prepared("genlabel", erm=Warm(network))

    def test_nothing_moves_in_the_frozen_network_or_the_trained_one(self):
        warm, model = Warm(), classifier()
        before = copy.deepcopy(warm.model.state_dict())
        variant = prepared("genlabel", erm=warm)
        frozen, trained = copy.deepcopy(variant.space.state_dict()), copy.deepcopy(model.state_dict())
        variant.mix(BATCH, CLASSES, rng())
        for module, state in ((warm.model, before), (variant.space, frozen), (model, trained)):
            assert all(torch.equal(tensor, state[name]) for name, tensor in module.state_dict().items())
        twin = classifier()
        variant.loss(model, BATCH, CLASSES, rng())
        VARIANTS.parse("mixup").loss(twin, BATCH, CLASSES, rng())
        assert all(torch.equal(*pair) for pair in zip(model.buffers(), twin.buffers(), strict=True))
        assert not variant.space.training


class TestFit:
    @pytest.mark.parametrize("spec", ["genlabel", "genlabel(density='kde')", "genlabel(space='inputs')"])
    def test_a_second_time_refits_nothing(self, tmp_path, monkeypatch, spec):
        first = VARIANTS.parse(spec).prepared(fitting(cache=tmp_path))
        assert len(list(tmp_path.iterdir())) == 1
        monkeypatch.setattr("robusteval.variants.genlabel.moments", None)  # would raise if it were called
        again = VARIANTS.parse(spec).prepared(fitting(cache=tmp_path))
        mixes = [variant.mix(BATCH, CLASSES, rng())[:3] for variant in (first, again)]
        assert all(torch.equal(*pair) for pair in zip(*mixes, strict=True))

    def test_what_comes_after_the_statistics_refits_nothing(self, tmp_path):
        for settings in ("", "shrinkage=0.5", "gamma=0.2", "alpha=0.3", "labels='top2'"):
            VARIANTS.parse(f"genlabel({settings})" if settings else "genlabel").prepared(fitting(cache=tmp_path))
        assert len(list(tmp_path.iterdir())) == 1

    def test_what_the_statistics_depend_on_is_in_the_key(self, tmp_path):
        warm = Warm()
        warm.key = "another recipe"
        specs = ["genlabel", "genlabel(warmup=2)", "genlabel(covariance='full')", "genlabel(space='inputs')"]
        for spec in specs:
            VARIANTS.parse(spec).prepared(fitting(cache=tmp_path))
        VARIANTS.parse("genlabel").prepared(fitting(erm=warm, cache=tmp_path))
        VARIANTS.parse("genlabel").prepared(fitting(DIGITS.first(150), cache=tmp_path))
        assert len(list(tmp_path.iterdir())) == len(specs) + 2

    def test_one_class_is_refused(self):
        message = r"variant='genlabel\(gamma=0.2\)': needs training samples of two classes or more, not 1"
        with pytest.raises(InputError, match=message):
            prepared("genlabel(gamma=0.2)", DIGITS.rows(DIGITS.labels == 3))

    def test_a_network_without_spread_is_refused(self):
        dead = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.Linear(4, CLASSES))
        nn.init.zeros_(dead[1].weight)
        with pytest.raises(InputError, match=r"shrinkage=0.1: leaves the covariance within the classes singular"):
            prepared("genlabel", erm=Warm(dead))

    @pytest.mark.parametrize(
        ("spec", "message"),
        [
            ("alpha=0.0", "alpha=0.0: must be above 0"),
            ("gamma=1.5", r"gamma=1.5: must be in \[0, 1\]"),
            ("warmup=0", "warmup=0: must be at least 1"),
            ("shrinkage=-0.1", r"shrinkage=-0.1: must be in \[0, 1\]"),
            ("bandwidth=0.0", "bandwidth=0.0: must be above 0"),
            ("bandwidth=0.2", "bandwidth=0.2: needs density='kde'"),
            ("warmup=5, space='inputs'", "warmup=5: needs space='features'; inputs have no network"),
        ],
    )
    def test_settings_have_their_range(self, spec, message):
        with pytest.raises(InputError, match=message):
            VARIANTS.parse(f"genlabel({spec})")


def test_vectors_have_no_warmup():
    train, _ = grid(5)
    message = r"^warmup=3: needs space='features'; inputs have no network$"
    with pytest.raises(InputError, match=message):
        prepared("genlabel(warmup=3)", train)
    with pytest.raises(InputError, match=message):
        VARIANTS.parse("genlabel(warmup=3)").rehearse(nn.Identity(), train.batch(), 9, rng())
    network = nn.Sequential(nn.Flatten(), nn.Linear(BATCH.x[0].numel(), CLASSES))
    VARIANTS.parse("genlabel(warmup=3)").rehearse(network, BATCH, CLASSES, rng())


@pytest.mark.parametrize("density", ["gaussian", "kde"])
def test_labels_are_worked_out_in_full_precision(density):
    variant = prepared(f"genlabel(gamma=1.0, density='{density}')")
    full = variant.mix(BATCH, CLASSES, rng()).targets
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = variant.mix(BATCH, CLASSES, rng()).targets
    assert torch.equal(full, half)


@pytest.mark.parametrize("density", ["gaussian", "kde"])
def test_half_precision_gives_nearly_the_same_loss(density):
    variant, model = prepared(f"genlabel(gamma=1.0, density='{density}')"), classifier()
    full = variant.loss(copy.deepcopy(model), BATCH, CLASSES, rng())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = variant.loss(model, BATCH, CLASSES, rng())
    half.backward()
    assert abs(half.item() - full.item()) < 0.1
    assert all(weight.grad.isfinite().all() for weight in model.parameters())


MARGINS = {
    "moons": ("gamma=1.0", lambda seed: datasets.make_moons(400, noise=0.1, random_state=seed)),
    "circles": ("gamma=0.8", lambda seed: datasets.make_circles(400, noise=0.05, factor=0.5, random_state=seed)),
}


@pytest.mark.parametrize("name", MARGINS)
def test_the_margin_of_the_nearest_points_is_at_least_that_of_mixup(name):
    """Of the twentieth part: the mean margin is larger under mixup on moons, whose boundary is too straight there."""
    gamma, draw = MARGINS[name]
    gains = []
    for seed in range(3):
        points, labels = (torch.from_numpy(array) for array in draw(seed))
        low, high = points.amin(dim=0) - 0.5, points.amax(dim=0) + 0.5
        train = vectors((points - low) / (high - low), labels, 2)
        ours = prepared(f"genlabel({gamma}, density='kde', bandwidth=0.2, labels='top2')", train)
        gains.append(margin(ours, train, seed) - margin(VARIANTS.parse("mixup"), train, seed))
    assert statistics.median(gains) > 0.005


def margin(variant, train, seed):
    """How far nineteen in twenty training points are from where a small network trained on them sees another class."""
    torch.manual_seed(seed)
    mlp = nn.Sequential(nn.Flatten(), nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    model, batch_size, draws = Classifier(mlp, (0.5,), (0.25,)), 100, Stream.seeded(seed)

    def batches(epoch):
        order = draws.stream("order").permutation(torch.tensor([epoch]), len(train))[0].split(batch_size)
        return [(draws.stream("step", epoch, number), train.batch(rows)) for number, rows in enumerate(order)]

    settings = Settings(60, len(train) // batch_size, lr=0.1, weight_decay=1e-4)
    fit(model, batches, lambda network, item: variant.loss(network, item[1], 2, item[0]), settings)
    side = torch.linspace(0, 1, 200)
    places = torch.cartesian_prod(side, side)
    with torch.no_grad():
        found = model(places[:, :, None, None]).argmax(dim=1)
    others = [KDTree(places[found != label].numpy()) for label in (0, 1)]
    points = train.images.flatten(1).numpy()
    away = [others[label].query(point)[0] for point, label in zip(points, train.labels.tolist(), strict=True)]
    return statistics.quantiles(away, n=20)[0]
