"""Attacks against torchattacks' and Foolbox's on a ResNet-20 for CIFAR-10, in turns in one process.

`python tests/benchmarks/attacks.py --attack pgd|apgd|autoattack|curve|strength|reference [--images N] [--runs N]
[--threads 1] [--batch-size 32] [--device cuda] [--compile] [--cpu-time] [--eps 0.5,8]`

`ratio` is the median of their seconds over the median of ours, each with the passes that judge its points. `limit` is
what the ratio would be if neither spent time outside the network: their passes through the original over ours through
the original and the form that is attacked, each at what it costs in full batches, measured between the runs. `overhead`
is our seconds over those of our passes, `bare` over what as many passes through the original alone would take.
"""

import argparse
import os
import statistics
import sys
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import rivals
import torch

import robusteval
from robusteval.attacks import ATTACKS, drive
from robusteval.attacks.oracle import Oracle
from robusteval.core.precision import full_float32
from robusteval.core.rng import Stream
from robusteval.core.types import Batch
from robusteval.engine import api
from robusteval.engine.worker import ready
from robusteval.models.foreign import Description
from robusteval.models.loading import describe, load

SHARED = Path(os.environ.get("ROBUSTEVAL_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
CURVE = ("0.125", "0.25", "0.5", "0.75", "1", "1.5", "2", "3", "4", "8")
TABLES = {
    "pgd": ("pgd(eps={}/255, steps=20)", lambda eps: rivals.pgd(eps, 20), "0.25,0.5,1,2,8", 400),
    "apgd": ("apgd(eps={}/255, loss='ce', steps=100)", lambda eps: rivals.apgd(eps, 100), "8", 400),
    "autoattack": ("autoattack(eps={}/255)", rivals.autoattack, "0.5,8", 50),
}
"""Our spec, their attacks, radii of 255, images."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--attack", default="pgd", choices=[*TABLES, "curve", "strength", "reference"])
    for name, default in (("images", None), ("runs", 3), ("threads", 1), ("batch-size", 32)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--cpu-time", action="store_true", help="seconds of this process's CPU, for a busy machine")
    parser.add_argument("--eps", help="radii of 255, with commas")
    parser.add_argument("--only", default="", help="strength: pairs whose name has this in it")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    images = options.images or (TABLES[options.attack][3] if options.attack in TABLES else 0)
    images = images or {"curve": 400, "strength": 300, "reference": 150}[options.attack]
    bench = Bench(*subject(images, options.device), options)
    print(
        f"{images} images, {options.runs} runs, {options.threads} threads, batches of {options.batch_size}, load "
        f"{os.getloadavg()[0]:.1f}, seconds of {'CPU' if options.cpu_time else 'the clock'}",
        flush=True,
    )
    match options.attack:
        case "curve":
            curve(bench)
        case "reference":
            reference(bench)
        case "strength":
            import strength

            strength.compare(bench, options.only)
        case name:
            table(bench, *TABLES[name][:2], (options.eps or TABLES[name][2]).split(","))


def subject(images, device="cpu"):
    path, slice_ = SHARED / "checkpoints" / "resnet20-12fca82f.th", SHARED / "cifar10-slice.npz"
    for file in (path, slice_):
        if not file.is_file():
            sys.exit(f"{file} is not on this machine: set ROBUSTEVAL_SHARED_DATA to the folder of the shared data")
    given = Description(
        arch="resnet-cifar(depth=20)", data="cifar10", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
    )
    model = load(path, describe(path, given), (3, 32, 32), tuple("0123456789")).model
    with np.load(slice_) as arrays:
        x, y = (torch.from_numpy(arrays[f"test_{name}"][:images]) for name in ("images", "labels"))
    batch = Batch(x.permute(0, 3, 1, 2).float().div(255).contiguous(), y.long(), torch.arange(len(x)))
    return model.to(device).eval().requires_grad_(False), Batch(*(tensor.to(device) for tensor in batch))


def percent(rows):
    """The share of a mask that is set."""
    return 100 * float(rows.float().mean())


class Bench:
    """The network, the images, and what is timed on them."""

    def __init__(self, model, batch, options):
        self.model, self.batch, self.options, self.size = model, batch, options, options.batch_size
        self.form, self.passes = ready(model, batch.x[:32], self.size, options.compile)[1:]
        self.costs = {"judge": [], "logits": [], "gradient": [], "backward": []}

    def ours(self, spec):
        """One attack as a user calls it; where the form is compiled, with that made before."""
        if not self.options.compile:
            return robusteval.attack(self.model, *self.batch[:2], spec, batch_size=self.size)
        with full_float32():
            return drive(ATTACKS.parse(spec), self.form, self.batch, Stream.seeded(0), self.model, self.passes)

    def timed(self, call, *arguments):
        begun = self._now()
        result = call(*arguments)
        return self._now() - begun, result

    def _now(self):
        if self.options.device != "cpu":
            torch.cuda.synchronize()
        return time.process_time() if self.options.cpu_time else time.perf_counter()

    def measure(self):
        """Once more what an image costs: in the original, and in the form that is attacked, at full batches."""
        x = self.batch.x[torch.arange(self.size, device=self.batch.x.device) % len(self.batch.x)]
        y, original, form = self.batch.y[:1].expand(self.size), Oracle(self.model), Oracle(self.form)
        calls = {
            "judge": lambda: original.logits(x),
            "logits": lambda: form.logits(x),
            "gradient": lambda: form.gradient(x, y),
            "backward": lambda: original.gradient(x, y),
        }
        with full_float32():
            for _ in range(5):
                for name, call in calls.items():
                    self.costs[name].append(self.timed(call)[0] / self.size)

    def cost(self, name):
        """Seconds an image takes; `backward` is the original's, forward and backward."""
        return statistics.median(self.costs[name])

    def alone(self, tally):
        """Seconds that counted passes of ours take without anything around them."""
        slope = self.cost("gradient") - self.cost("logits")
        return sum(tally[name] * self.cost(name) for name in ("judge", "logits", "gradient")) + tally["slopes"] * slope

    def bare(self, counted):
        """Seconds that counted forwards and backwards take in the original."""
        back = self.cost("backward") - self.cost("judge")
        return counted.forwards * self.cost("judge") + counted.backwards * back


@contextmanager
def tallied():
    """Count the images of every pass of ours by its kind, setting up the form left out."""
    tally, asked = Counter(), {name: getattr(Oracle, name) for name in ("logits", "gradient", "slopes")}

    def counting(name):
        def call(oracle, x, *arguments):
            kind = "judge" if name == "logits" and oracle.model is judge[0] else name
            tally["logits" if name == "slopes" else kind] += len(x) * oracle.eot
            if name == "slopes":
                tally["slopes"] += arguments[0].numel() * oracle.eot
            return asked[name](oracle, x, *arguments)

        return call

    def driven(attack, form, batch, rng, model, passes):
        tally.clear()
        judge[0] = model
        return drive(attack, form, batch, rng, model, passes)

    judge = [None]
    with patch.multiple(Oracle, **{name: counting(name) for name in asked}), patch.object(api, "drive", driven):
        yield tally


def table(bench, spec, others, radii):
    """One row for each radius and each rival; the first run of ours is not timed."""
    print(
        "eps    library       ours s  theirs s  ratio  limit | forwards/image backwards/image  theirs    | "
        "robust % ours theirs | overhead   bare",
        flush=True,
    )
    for radius in radii:
        compare(bench, spec.format(radius), radius, others(float(radius) / 255))


def compare(bench, spec, radius, others):
    with tallied() as tally:
        outcome = robusteval.attack(bench.model, *bench.batch[:2], spec, batch_size=bench.size)
    if bench.options.compile:
        outcome = bench.ours(spec)
    ours, theirs, n = [], [[] for _ in others], len(bench.batch.x)
    for run in range(bench.options.runs):
        ours.append(bench.timed(bench.ours, spec)[0])
        bench.measure()
        found = []
        for rival, seconds in zip(others, theirs, strict=True):
            took, result = bench.timed(rival.attacked, bench.model, bench.batch, bench.size, run)
            seconds.append(took)
            found.append(result)
        bench.measure()
    middle, alone = statistics.median(ours), bench.alone(tally)
    for rival, seconds, (distance, network) in zip(others, map(statistics.median, theirs), found, strict=True):
        left = percent(~rival.within(distance))
        print(
            f"{radius:6} {rival.library:12} {middle:7.2f} {seconds:9.2f} {seconds / middle:6.2f} "
            f"{bench.bare(network) / alone:6.2f} | {outcome.forwards / n:14.2f} {outcome.backwards / n:15.2f} "
            f"{network.forwards / n:7.2f} {network.backwards / n:7.2f} | "
            f"{percent(~outcome.broken):8.2f} {left:8.2f} | {middle / alone:8.2f} {middle / bench.bare(outcome):6.2f}",
            flush=True,
        )  # fmt: skip
    unit = {name: round(1e3 * bench.cost(name), 3) for name in bench.costs}
    print(f"   ours counted: {dict(tally)}; ms/image {unit}; runs {[round(s, 2) for s in ours]}", flush=True)


def curve(bench):
    """All radii in one run against the dearest of them alone: the one with the most passes."""
    radii = bench.options.eps.split(",") if bench.options.eps else CURVE
    alone = {radius: bench.ours(f"pgd(eps={radius}/255, steps=20)") for radius in radii}
    dearest = max(radii, key=lambda radius: alone[radius].forwards + alone[radius].backwards)
    whole = ", ".join(f"{radius}/255" for radius in radii)
    specs = (f"pgd(eps=[{whole}], steps=20)", f"pgd(eps={dearest}/255, steps=20)")
    seconds = ([], [])
    for _ in range(bench.options.runs):
        for took, spec in zip(seconds, specs, strict=True):
            took.append(bench.timed(bench.ours, spec)[0])
    whole, one = map(statistics.median, seconds)
    together, single = bench.ours(specs[0]), alone[dearest]
    passes = [outcome.forwards + outcome.backwards for outcome in (together, single)]
    every = sum(outcome.forwards + outcome.backwards for outcome in alone.values())
    print(
        f"dearest {dearest}/255: {one:.2f} s, {passes[1]} passes; curve {whole:.2f} s, {passes[0]} passes; "
        f"ratio {whole / one:.2f}, of passes {passes[0] / passes[1]:.2f}; all radii one by one {every} passes"
    )
    print("eps     robust % curve   alone   other verdicts")
    for radius in radii:
        left, single = together.distance > float(radius) / 255 * (1 + 1e-9), ~alone[radius].broken
        print(f"{radius:6} {percent(left):14.2f} {percent(single):8.2f} {int((left != single).sum()):12}")


def reference(bench):
    """The verdicts of the reference implementation of AutoAttack against ours."""
    import json

    known = json.loads((SHARED / "reference" / "autoattack-resnet20-0.5.json").read_text())
    seconds, outcome = bench.timed(bench.ours, "autoattack(eps=0.5/255)")
    left = set((~outcome.broken).nonzero()[:, 0].tolist())
    theirs = set(known["robust_ids"]) & set(range(len(bench.batch.x)))
    print(
        f"{seconds:.1f} s; ours leaves {len(left)}, the reference {len(theirs)}; ours alone {sorted(left - theirs)}, "
        f"theirs alone {sorted(theirs - left)}; forwards {outcome.forwards} backwards {outcome.backwards}; "
        f"flags {outcome.flags}"
    )


if __name__ == "__main__":
    main()
