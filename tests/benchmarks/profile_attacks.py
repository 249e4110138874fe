"""Where an attack's time goes: the ResNet-20 for CIFAR-10, one run of `robusteval.attack`, part by part.

`python tests/benchmarks/profile_attacks.py [--images 400] [--threads 1] [--batch-size 48] SPEC...`

Times are of this process's CPU, which other processes on the machine disturb less than the clock; with one thread they
are what an idle machine's clock would show. `own` is what a part takes without the parts inside it that have a line.
"""

import argparse
import statistics
import time
from collections import defaultdict
from contextlib import ExitStack
from functools import wraps
from importlib import import_module
from unittest.mock import patch

import torch
from attacks import subject

import robusteval
from robusteval.attacks.apgd import Apgd
from robusteval.attacks.fab import Fab
from robusteval.attacks.pgd import Pgd
from robusteval.attacks.square import Square
from robusteval.core.rng import Stream

# By name: the package hides its module `drive` behind the function.
api, worker = (import_module(f"robusteval.engine.{name}") for name in ("api", "worker"))
contract, drive, flags, loop, oracle = (
    import_module(f"robusteval.attacks.{name}") for name in ("attack", "drive", "flags", "loop", "oracle")
)

PARTS = (
    (api, "_module"), (api, "from_pair"), (api, "_answer"), (api, "ready"),
    (worker, "evaluation_form"), (worker, "steady"),
    (drive._Drive, "_judgement"), (drive._Drive, "_inspect"), (drive._Drive, "_settle"), (drive._Drive, "_run"),
    (drive, "check_ball"), (drive, "inspected"), (flags, "_sloped"),
    (loop.Loop, "run"), (loop.Loop, "_refill"), (loop.Loop, "_sort"), (loop.Loop, "_leave"), (loop.Loop, "_moved"),
    (loop.Loop, "_stretch"), (loop, "_joined"),
    (loop._Rows, "chosen"),
    (Pgd, "start"), (Pgd, "advance"), (Pgd, "lengths"), (Pgd, "_uphill"),
    (Apgd, "start"), (Apgd, "advance"), (Apgd, "_stepped"), (Apgd, "judged"), (Fab, "start"), (Fab, "advance"),
    (Fab, "_seen"), (Fab, "_stepped"), (Square, "start"), (Square, "advance"), (Square, "_recoloured"),
    (contract.Search, "observed"), (contract.Search, "inside"), (contract.Search, "landed"), (contract.Search, "close"),
    (contract.Search, "size"),
    (oracle.Oracle, "_padded"), (oracle.Oracle, "_numbers"), (oracle.Oracle, "_answer"), (oracle.Oracle, "_logits"),
    (oracle.Oracle, "_passed"), (oracle, "_gradient"), (Stream, "words"),
)  # fmt: skip
"""Functions that get a line."""


class Clock:
    """Own and whole CPU seconds, calls and rows of each part."""

    def __init__(self):
        self.stack, self.own, self.whole, self.calls = [], defaultdict(float), defaultdict(float), defaultdict(int)
        self.rows, self.passes = defaultdict(int), defaultdict(list)

    def timed(self, name, function):
        @wraps(function)
        def call(*args, **kwargs):
            begun = time.process_time()
            self.stack.append(0.0)
            try:
                return function(*args, **kwargs)
            finally:
                took = time.process_time() - begun
                self.own[name] += took - self.stack.pop()
                self.whole[name] += took
                self.calls[name] += 1
                if self.stack:
                    self.stack[-1] += took

        return call


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("images", 400), ("threads", 1), ("batch-size", 48)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("specs", nargs="*", default=["pgd(eps=2/255)", "pgd(eps=8/255)", "autoattack(eps=8/255)"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model, batch = subject(options.images)
    for spec in options.specs:
        profiled(model, batch, spec, options.batch_size)


def profiled(model, batch, spec, size):
    clock = Clock()
    robusteval.attack(model, *batch[:2], spec, batch_size=size)
    plain = []
    for _ in range(3):
        begun = time.process_time()
        robusteval.attack(model, *batch[:2], spec, batch_size=size)
        plain.append(time.process_time() - begun)
    padded = oracle.padded

    def counted(x, fixed=None):
        rows = padded(x, fixed)
        clock.passes[len(rows)].append(len(x))
        return rows

    with ExitStack() as stack:
        stack.enter_context(patch.object(oracle, "padded", counted))
        for owner, name in PARTS:
            label = f"{owner.__name__.rpartition('.')[2]}.{name}"
            stack.enter_context(patch.object(owner, name, clock.timed(label, getattr(owner, name))))
        outcome = clock.timed("all", robusteval.attack)(model, *batch[:2], spec, batch_size=size)
    n = len(batch.x)
    print(
        f"\n{spec}, {n} images, batches of {size}: CPU s plain {statistics.median(plain):.3f}"
        f" (min {min(plain):.3f}), profiled {clock.whole['all']:.3f}; robust {int((~outcome.broken).sum())};"
        f" forwards {outcome.forwards} backwards {outcome.backwards}"
    )
    for rows, actual in sorted(clock.passes.items()):
        print(f"   passes of {rows:4} rows: {len(actual):5}, {sum(actual):6} of their {rows * len(actual):6} rows used")
    print(f"{'part':28} {'calls':>7} {'own ms':>9} {'whole ms':>9}")
    for name in sorted(clock.own, key=clock.own.get, reverse=True):
        print(f"{name:28} {clock.calls[name]:7} {clock.own[name] * 1e3:9.1f} {clock.whole[name] * 1e3:9.1f}")


if __name__ == "__main__":
    main()
