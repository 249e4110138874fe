"""The laws of input mixup (METHODS 7.6)."""

import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional

from robusteval.core.errors import InputError
from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.variants import VARIANTS

N = 8
BATCH = Batch(
    # A pixel for each sample: the mixed image shows who was mixed, and how much of each.
    torch.eye(N).reshape(N, 1, 2, 4),
    torch.tensor([0, 1, 2, 0, 1, 2, 0, 1]),
    torch.arange(N) * 10 + 3,
)
RNG = Stream.seeded(0)


def mixed(spec: str, step: int = 0, batch: Batch = BATCH):
    return VARIANTS.parse(spec).mix(batch, 3, RNG.stream("step", step))


def shares(spec: str, steps: int) -> Tensor:
    """The share that each sample keeps of itself, [steps, n]; 1 where it is its own partner."""
    return torch.stack([mixed(spec, step).x.flatten(1).diagonal() for step in range(steps)])


@pytest.mark.parametrize("spec", ["mixup", "mixup(alpha=0.2)", "mixup(per_sample=True)"])
def test_images_and_targets_are_mixed_alike(spec):
    x, targets, weights, _ = mixed(spec)
    onehot = functional.one_hot(BATCH.y, 3).float()
    torch.testing.assert_close(targets, x.flatten(1) @ onehot)
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(N))
    torch.testing.assert_close(x.sum(dim=(1, 2, 3)), torch.ones(N))
    assert ((x > 0).flatten(1).sum(dim=1) <= 2).all()
    assert weights.tolist() == [1.0] * N


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
@pytest.mark.parametrize("per_sample", [True, False])
def test_lambda_follows_its_law(alpha, per_sample):
    drawn = shares(f"mixup(alpha={alpha}, per_sample={per_sample})", 800)
    alone = drawn == 1
    values = drawn[~alone] if per_sample else drawn.amin(dim=1)[~alone.all(dim=1)]
    assert stats.kstest(values.numpy(), stats.beta(alpha, alpha).cdf).pvalue > 1e-3


def test_one_lambda_per_batch_or_one_per_sample():
    for spec, distinct in (("mixup", 1), ("mixup(per_sample=True)", 2)):
        drawn = shares(spec, 20)
        for row in drawn:
            others = row[row < 1]
            assert (len(others.unique()) >= distinct) == (len(others) >= distinct)
            assert distinct > 1 or len(others.unique()) <= 1


def test_partners_are_a_permutation_that_steps_draw_anew():
    partners = []
    for step in range(400):
        x = mixed("mixup(alpha=1)", step).x.flatten(1)
        torch.testing.assert_close(x.sum(dim=0), torch.ones(N))  # everyone is somebody's partner exactly once
        partners.append((x - 2 * x * torch.eye(N)).argmax(dim=1).where(x.diagonal() < 1, torch.arange(N)))
    counts = torch.bincount((torch.stack(partners) * N + torch.arange(N)).flatten(), minlength=N * N)
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


def test_the_loss_is_the_two_term_form_in_value_and_gradient():
    generator = torch.Generator().manual_seed(1)
    batch = BATCH._replace(x=torch.rand(N, 1, 2, 4, generator=generator))
    linear = nn.Linear(8, 3)
    model = nn.Sequential(nn.Flatten(), linear)
    soft = VARIANTS.parse("mixup").loss(model, batch, 3, RNG.stream("step", 0))

    pairs = mixed("mixup").x.flatten(1)
    share = pairs.diagonal()[pairs.diagonal() < 1][0]
    partner = (pairs - 2 * pairs * torch.eye(N)).argmax(dim=1).where(pairs.diagonal() < 1, torch.arange(N))
    logits = model(share * batch.x + (1 - share) * batch.x[partner])
    own, other = functional.cross_entropy(logits, batch.y), functional.cross_entropy(logits, batch.y[partner])
    two = share * own + (1 - share) * other
    torch.testing.assert_close(soft, two)
    gradients = [torch.autograd.grad(loss, linear.parameters()) for loss in (soft, two)]
    for one, same in zip(*gradients, strict=True):
        torch.testing.assert_close(one, same)


def test_lambda_does_not_depend_on_the_images_or_the_size_of_the_batch():
    half = Batch(*(tensor[:4] for tensor in BATCH))
    whole, part = (mixed("mixup", 3, batch).x.flatten(1) for batch in (BATCH, half))
    assert whole.diagonal().min() == part[:, :4].diagonal().min()


@pytest.mark.parametrize("alpha", ["0", "-1.0"])
def test_alpha_is_above_zero(alpha):
    with pytest.raises(InputError, match=r"alpha=.*: must be above 0; erm is the variant without mixing"):
        VARIANTS.parse(f"mixup(alpha={alpha})")
