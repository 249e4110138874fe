"""The attacks of torchattacks and Foolbox at given budgets, judged and counted, as `attacks.py` compares them.

Both get the network in eval mode without parameter gradients. They reshape its input gradient in place, so it is handed
to them contiguous: without that they crash on a network that slices its activations, as this one does.
"""

import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from robusteval.attacks.norms import NORMS

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    try:
        import eagerpy as ep
        import foolbox
        import torchattacks
        from foolbox.devutils import atleast_kd, flatten
        from torchattacks.wrappers.multiattack import MultiAttack
    except ImportError as error:
        sys.exit(f"{error.name} is not installed: pip install torchattacks==3.5.1 foolbox==3.3.4")

Made = Callable[["Counted"], Callable[[Tensor, Tensor], Tensor]]


class Counted(nn.Module):
    """A network that counts the images it passes forward, and backward to the input."""

    def __init__(self, network):
        super().__init__()
        self.network, self.forwards, self.backwards = network, 0, 0
        self.eval()  # or torchattacks puts it back into train mode after each attack

    def forward(self, x):
        self.forwards += len(x)
        return self.network(_Seen.apply(x, self) if x.requires_grad else x)


class _Seen(torch.autograd.Function):
    """The identity; its backward counts, and hands on a contiguous gradient."""

    @staticmethod
    def forward(ctx, x, counter):
        ctx.counter = counter
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        ctx.counter.backwards += len(gradient)
        return gradient.contiguous(), None


@dataclass(frozen=True)
class Rival:
    """One foreign attack.

    Attributes:
        library: whose.
        made: from a counted network to a function from images and labels to the points it found.
        eps: radius of the ball.
        norm: whose ball it is.
    """

    library: str
    made: Made
    eps: float
    norm: str = "linf"

    def attacked(self, model, batch, size, seed):
        """The distance of every misclassified point and infinity elsewhere [n], and the counted network."""
        network = Counted(model)
        attack = self.made(network)
        torch.manual_seed(seed)
        parts = []
        for x, y in zip(batch.x.split(size), batch.y.split(size), strict=True):
            found = attack(x.clone(), y).detach()
            with torch.no_grad():
                wrong = network(found).argmax(dim=1) != y
            parts.append(torch.where(wrong, NORMS[self.norm].size(found.double() - x.double()), torch.inf))
        return torch.cat(parts), network

    def within(self, distance, eps=None):
        """Which points lie in the ball, with the rounding that theirs need."""
        return distance <= (self.eps if eps is None else eps) * (1 + 1e-4) + 1e-6


def torch_attack(name, eps, norm="linf", /, **arguments):
    """An attack of torchattacks."""
    return Rival("torchattacks", lambda model: getattr(torchattacks, name)(model, **arguments), eps, norm)


def box_attack(name, eps, norm="linf", /, **arguments):
    """An attack of Foolbox; one that looks for the nearest point is asked for it, whatever the radius."""
    nearest = issubclass(getattr(foolbox.attacks, name), foolbox.attacks.base.MinimizationAttack)
    return Rival("foolbox", partial(_boxed, name, None if nearest else eps, arguments), eps, norm)


class MendedL2Fmn(foolbox.attacks.L2FMNAttack):
    """Foolbox 3.3.4's projects onto no ball: it divides the norms by themselves."""

    def project(self, x, x0, epsilon):
        change = x - x0
        size = flatten(change).norms.l2(axis=-1)
        return x0 + change * atleast_kd(ep.minimum(1, epsilon / ep.maximum(size, 1e-12)), x.ndim)


def l2_fmn(eps, steps):
    """FMN in L2 with its projection mended."""
    return Rival("foolbox", partial(_boxed, MendedL2Fmn, None, {"steps": steps}), eps, "l2")


def _boxed(kind, eps, arguments, model):
    attack = (getattr(foolbox.attacks, kind) if isinstance(kind, str) else kind)(**arguments)
    inner = foolbox.PyTorchModel(model, bounds=(0, 1), device=next(model.parameters()).device)
    given = {} if eps is None else {"epsilon": eps}
    # `run` is the attack without Foolbox's own judging, so that both libraries are judged once.
    return lambda x, y: attack.run(inner, x, foolbox.criteria.Misclassification(y), **given)


def pgd(eps, steps):
    """PGD with the step that ours has, 2.5 * eps / steps."""
    step = 2.5 / steps
    return [
        torch_attack("PGD", eps, eps=eps, alpha=step * eps, steps=steps, random_start=True),
        box_attack("LinfPGD", eps, rel_stepsize=step, steps=steps, random_start=True),
    ]


def apgd(eps, steps):
    """APGD on the cross-entropy."""
    return [torch_attack("APGD", eps, eps=eps, steps=steps, loss="ce")]


def autoattack(eps, classes=10):
    """The standard version at the authors' budgets: `torchattacks.AutoAttack` itself takes 10 steps, not 100."""

    def made(model):
        parts = [
            torchattacks.APGD(model, eps=eps, steps=100, loss="ce"),
            torchattacks.APGDT(model, eps=eps, steps=100, n_classes=classes),
            torchattacks.FAB(model, eps=eps, steps=100, multi_targeted=True, n_classes=classes),
            torchattacks.Square(model, eps=eps, n_queries=5000),
        ]
        return MultiAttack(parts)

    return [Rival("torchattacks", made, eps)]
