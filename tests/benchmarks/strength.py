"""Each attack against its counterpart in torchattacks and Foolbox at the same budget: what each leaves robust.

Run by `attacks.py --attack strength [--only NAME]`. Attacks for the nearest point are compared at several radii.
"""

from dataclasses import dataclass

import rivals
from attacks import percent

from robusteval.attacks import ATTACKS


@dataclass(frozen=True)
class Pair:
    """An attack of ours, `{}` where the radius stands, and theirs at a radius; the first of several is the largest."""

    spec: str
    theirs: object
    radii: tuple[float, ...]
    scale: float = 255.0


LINF, L2 = (1.0, 0.5, 0.25), (0.2, 0.1, 0.05)
PAIRS = (
    Pair("pgd(eps={}, steps=20)", lambda eps: rivals.pgd(eps, 20), LINF),
    Pair(
        "pgd(eps={}, norm='l2', steps=20)",
        lambda eps: [
            rivals.torch_attack("PGDL2", eps, "l2", eps=eps, alpha=2.5 * eps / 20, steps=20),
            rivals.box_attack("L2PGD", eps, "l2", rel_stepsize=2.5 / 20, steps=20),
        ],
        (0.1,), 1.0,
    ),
    Pair("apgd(eps={}, loss='ce', steps=100)", lambda eps: rivals.apgd(eps, 100), (0.5,)),
    Pair(
        "apgd(eps={}, norm='l2', loss='ce', steps=100)",
        lambda eps: [rivals.torch_attack("APGD", eps, "l2", norm="L2", eps=eps, steps=100)],
        (0.1,), 1.0,
    ),
    Pair(
        "square(eps={}, n_queries=1000)",
        lambda eps: [rivals.torch_attack("Square", eps, eps=eps, n_queries=1000)],
        (2.0, 1.0),
    ),
    Pair(
        "square(eps={}, norm='l2', n_queries=1000)",
        lambda eps: [rivals.torch_attack("Square", eps, "l2", norm="L2", eps=eps, n_queries=1000)],
        (0.3,), 1.0,
    ),
    Pair(
        "deepfool(eps={}, norm='l2', steps=50)",
        lambda eps: [
            rivals.torch_attack("DeepFool", eps, "l2", steps=50),
            rivals.box_attack("L2DeepFoolAttack", eps, "l2", steps=50),
        ],
        L2, 1.0,
    ),
    Pair("deepfool(eps={}, steps=50)", lambda eps: [rivals.box_attack("LinfDeepFoolAttack", eps, steps=50)], LINF),
    Pair("fmn(eps={}, steps=100)", lambda eps: [rivals.box_attack("LInfFMNAttack", eps, steps=100)], LINF),
    Pair(
        "fmn(eps={}, norm='l2', steps=100)",
        lambda eps: [rivals.l2_fmn(eps, 100)],
        L2, 1.0,
    ),
    Pair(
        "cw(eps={}, binary_search_steps=5, steps=50)",
        lambda eps: [rivals.box_attack("L2CarliniWagnerAttack", eps, "l2", binary_search_steps=5, steps=50)],
        L2, 1.0,
    ),
    Pair(
        "cw(eps={}, binary_search_steps=1, steps=100, initial_const=1)",
        lambda eps: [rivals.torch_attack("CW", eps, "l2", c=1, steps=100)],
        L2, 1.0,
    ),
    Pair(
        "apgd(eps={}, loss='t', steps=20)",
        lambda eps: [rivals.torch_attack("APGDT", eps, eps=eps, steps=20)],
        (0.5,),
    ),
    Pair(
        "fab(eps={}, steps=20)",
        lambda eps: [rivals.torch_attack("FAB", eps, eps=eps, steps=20, multi_targeted=True)],
        (0.5,),
    ),
)  # fmt: skip


def compare(bench, only=""):
    heading = "robust % ours theirs  found | s ours theirs | forwards, backwards/image: ours, theirs"
    print(f"{'spec':58} {'library':12} {'eps':>6} {heading}")
    for pair in PAIRS:
        if only in pair.spec and pair.spec.partition("(")[0] in ATTACKS.classes:
            nearest = any(search.goal == "distance" for search in ATTACKS.parse(pair.spec.format("0.01")).searches)
            for radii in [pair.radii] if nearest else [(radius,) for radius in pair.radii]:
                row(bench, pair, radii)


def row(bench, pair, radii):
    """Both sides once; `found` is the share of their points that are misclassified at any distance."""
    n, largest = len(bench.batch.x), radii[0] / pair.scale
    spec = pair.spec.format(f"{radii[0]}/{pair.scale:g}")
    seconds, outcome = bench.timed(bench.ours, spec)
    for rival in pair.theirs(largest):
        took, (distance, network) = bench.timed(rival.attacked, bench.model, bench.batch, bench.size, 0)
        for radius in radii:
            eps = radius / pair.scale
            left = [percent(~rival.within(distances, eps)) for distances in (outcome.distance, distance)]
            passes = (outcome.forwards, outcome.backwards, network.forwards, network.backwards)
            print(
                f"{spec:58} {rival.library:12} {radius:6} {left[0]:13.2f} {left[1]:6.2f} "
                f"{percent(distance.isfinite()):6.2f} | {seconds:6.1f} {took:6.1f} | "
                + " ".join(f"{count / n:8.1f}" for count in passes)
                + (" WEAKER" if left[0] > left[1] + 0.4 else ""),
                flush=True,
            )
