"""Class densities against scikit-learn, scipy and closed forms (METHODS 7.4)."""

import math

import pytest
import torch
from scipy import stats
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis

from robusteval.core.errors import InputError
from robusteval.variants.densities import Gaussians, Kernels, Moments, moments, posterior

GENERATOR = torch.Generator().manual_seed(0)
CLASSES, D = 3, 4
LABELS = torch.arange(120) % CLASSES
SCALES = torch.tensor([[1.0, 0.2, 3.0, 1.0], [0.5, 1.0, 1.0, 2.0], [1.0, 1.0, 0.1, 0.7]], dtype=torch.float64)


def normals(n):
    return torch.randn(n, D, generator=GENERATOR, dtype=torch.float64)


POINTS = normals(120) * SCALES[LABELS] + LABELS[:, None]
QUERIES = normals(50) * 2
MATRIX, SHIFT = normals(D), normals(1)
EVERYWHERE = torch.cat([QUERIES * 10**power for power in range(4)])


def gaussians(points=POINTS, labels=LABELS, classes=CLASSES, tied=False, shrinkage=0.0):
    return Gaussians.of(moments(points, labels, classes, tied), shrinkage)


def kernels(points=POINTS, labels=LABELS, classes=CLASSES, tied=False, shrinkage=0.0, factor=None):
    return Kernels.of(points, labels, moments(points, labels, classes, tied), shrinkage, factor)


def known(means, variance):
    """Gaussians of known means [k, d] and covariance variance * I."""
    means = torch.as_tensor(means, dtype=torch.float64)
    covariance = variance * torch.eye(means.shape[1], dtype=torch.float64)[None]
    return Gaussians.of(Moments(torch.full(means.shape[:1], 9), means, covariance))


class TestGaussians:
    def test_the_posterior_is_that_of_quadratic_discriminant_analysis(self):
        priors = [1 / CLASSES] * CLASSES
        oracle = QuadraticDiscriminantAnalysis(priors=priors, store_covariance=True)
        oracle.fit(POINTS.numpy(), LABELS.numpy())
        covariances = torch.stack([torch.from_numpy(covariance) for covariance in oracle.covariance_])
        # Releases of scikit-learn divide by n or by n - 1: ours are compared with scipy's.
        ours = Gaussians.of(moments(POINTS, LABELS, CLASSES, tied=False)._replace(covariances=covariances))
        expected = torch.from_numpy(oracle.predict_proba(QUERIES.numpy()))
        torch.testing.assert_close(posterior(ours(QUERIES)), expected, rtol=1e-8, atol=1e-12)

    @pytest.mark.parametrize("tied", [False, True])
    @pytest.mark.parametrize("shrinkage", [0.0, 0.3, 1.0])
    def test_log_densities_against_scipy(self, tied, shrinkage):
        own = [POINTS[label == LABELS] for label in range(CLASSES)]
        covariances = torch.stack([rows.T.cov() for rows in own])
        variance = covariances.diagonal(dim1=1, dim2=2).mean()  # the classes are of one size
        covariances = covariances.mean(dim=0).expand(CLASSES, D, D) if tied else covariances
        covariances = (1 - shrinkage) * covariances + shrinkage * variance * torch.eye(D)
        expected = [
            torch.from_numpy(stats.multivariate_normal(rows.mean(dim=0), covariance).logpdf(QUERIES))
            for rows, covariance in zip(own, covariances, strict=True)
        ]
        densities = gaussians(tied=tied, shrinkage=shrinkage)
        torch.testing.assert_close(densities(QUERIES), torch.stack(expected, dim=1))
        assert densities(QUERIES.float()).dtype == torch.float64

    def test_two_equal_spheres_give_a_sigmoid(self):
        """sigmoid(2 m.x / s^2); the two cubes of the paper, means (-1, 0) and (1, 0), give sigmoid(2 x_1)."""
        mean, variance, x = torch.tensor([0.3, -1.1], dtype=torch.float64), 0.7, QUERIES[:, :2]
        probabilities = posterior(known([(-mean).tolist(), mean.tolist()], variance)(x))
        torch.testing.assert_close(probabilities[:, 1], torch.sigmoid(2 * x @ mean / variance))
        cubes = posterior(known([[-1, 0], [1, 0]], 1.0)(x))
        torch.testing.assert_close(cubes[:, 1], torch.sigmoid(2 * x[:, 0]))

    def test_affine_maps_do_not_matter(self):
        moved = gaussians(POINTS @ MATRIX.T + SHIFT)(QUERIES @ MATRIX.T + SHIFT)
        torch.testing.assert_close(posterior(moved), posterior(gaussians()(QUERIES)), rtol=1e-7, atol=1e-12)

    @pytest.mark.parametrize("tied", [False, True])
    def test_a_class_of_few_samples_stays_finite_and_one_of_none_has_no_mass(self, tied):
        few = LABELS.clone()
        few[LABELS == 1] = 0
        few[1] = 1
        log = gaussians(labels=few, classes=4, tied=tied, shrinkage=1e-4)(EVERYWHERE)
        assert log[:, :3].isfinite().all()
        assert (log[:, 3] == -math.inf).all()
        assert (posterior(log)[:, 3] == 0).all()
        assert posterior(log).isfinite().all()

    @pytest.mark.parametrize(
        ("points", "tied", "message"),
        [
            (torch.cat([POINTS, POINTS[:, :1] * 3 - 1], dim=1), False, "of class 0, which has 40 samples, singular in"),
            (torch.cat([POINTS, POINTS[:, :1] * 3 - 1], dim=1), True, "within the classes singular in 5 dimensions"),
            (POINTS * torch.tensor([1, 1, 0, 1]), True, "within the classes singular in 4 dimensions"),
            (SCALES[LABELS], True, "within the classes singular in 4 dimensions"),
        ],
    )
    def test_a_singular_covariance_is_refused(self, points, tied, message):
        with pytest.raises(InputError, match=rf"shrinkage=0.0: leaves the covariance {message}.*; raise it"):
            gaussians(points, tied=tied)

    def test_small_and_large_units_are_not_singular(self):
        units = torch.tensor([1e-6, 1.0, 1e6, 1e3], dtype=torch.float64)
        scaled = gaussians(POINTS * units)(QUERIES * units)
        torch.testing.assert_close(posterior(scaled), posterior(gaussians()(QUERIES)), rtol=1e-7, atol=1e-12)


class TestKernels:
    @pytest.mark.parametrize("factor", [None, 0.2, 1.0])
    def test_log_densities_are_those_of_scipy(self, factor):
        own = [POINTS[label == LABELS].T.numpy() for label in range(CLASSES)]
        oracles = [stats.gaussian_kde(rows, bw_method=factor) for rows in own]
        expected = torch.stack([torch.from_numpy(oracle.logpdf(QUERIES.T.numpy())) for oracle in oracles], dim=1)
        torch.testing.assert_close(kernels(factor=factor)(QUERIES), expected, rtol=1e-9, atol=1e-9)

    @pytest.mark.parametrize("tied", [False, True])
    def test_one_kernel_at_the_mean_is_the_gaussian(self, tied):
        found = moments(POINTS, LABELS, CLASSES, tied)._replace(counts=torch.ones(CLASSES, dtype=torch.int64))
        one = Kernels.of(found.means, torch.arange(CLASSES), found, factor=1.0)
        torch.testing.assert_close(one(QUERIES), gaussians(tied=tied)(QUERIES))

    def test_a_class_without_samples_has_no_mass(self):
        log = kernels(classes=5, shrinkage=0.1, factor=0.2)(EVERYWHERE)
        assert log[:, :3].isfinite().all()
        assert (log[:, 3:] == -math.inf).all()
        assert posterior(log).isfinite().all()


class TestPosterior:
    @pytest.mark.parametrize("densities", [gaussians(), gaussians(tied=True), kernels(factor=0.1)])
    @pytest.mark.parametrize("most", [None, 2])
    def test_it_is_a_distribution_at_any_distance(self, densities, most):
        """The last queries lie beyond a thousand standard deviations."""
        probabilities = posterior(densities(EVERYWHERE), most)
        assert EVERYWHERE.abs().max() > 1e3 * SCALES.max()
        assert probabilities.isfinite().all()
        assert probabilities.min() >= 0
        assert probabilities.max() <= 1
        torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(len(EVERYWHERE), dtype=torch.float64))

    def test_the_class_in_the_middle_takes_it_all(self):
        """At -10, 0, 10 with variance 0.1 the outer classes keep exp(-500) each."""
        probabilities = posterior(known([[-10], [0], [10]], 0.1)(torch.zeros(1, 1)))[0]
        assert probabilities[[0, 2]].max() < 1e-200
        assert probabilities[0].log().item() == pytest.approx(-500)
        assert probabilities[1] == 1

    def test_the_likeliest_two_of_two_are_all(self):
        log = gaussians(labels=LABELS % 2, classes=2)(QUERIES)
        torch.testing.assert_close(posterior(log, 2), posterior(log))

    def test_the_likeliest_two_differ_from_all_where_three_meet(self):
        corners = [[math.cos(angle), math.sin(angle)] for angle in (0, math.tau / 3, 2 * math.tau / 3)]
        log = known(corners, 0.5)(torch.zeros(1, 2))
        torch.testing.assert_close(posterior(log), torch.full((1, 3), 1 / 3, dtype=torch.float64))
        halves = posterior(log, 2).sort().values
        torch.testing.assert_close(halves, torch.tensor([[0.0, 0.5, 0.5]], dtype=torch.float64))
