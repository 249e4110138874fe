"""PGD-20 of robusteval against torchattacks' on a ResNet-20 for CIFAR-10, run in turns in one process.

`python tests/benchmarks/attacks.py [--images 400] [--runs 3] [--threads 1] [--batch-size 48]`

`ratio` is their median seconds over ours. `overhead` is our wall time over the time the network alone, in the form that
is attacked, takes for the same number of forward and backward passes at full batches.
"""

import argparse
import os
import statistics
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch

import robusteval
from robusteval.attacks.oracle import Oracle, predict
from robusteval.core.types import Batch
from robusteval.models.foreign import Description
from robusteval.models.fuse import evaluation_form
from robusteval.models.loading import describe, load

SHARED = Path(os.environ.get("ROBUSTEVAL_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
EPS = {"0.5/255": 0.5 / 255, "2/255": 2 / 255}
STEPS = 20


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("images", 400), ("runs", 3), ("threads", 1), ("batch-size", 48)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    library, (model, batch) = their_library(), subject(options.images)
    print(f"{len(batch.x)} images, {options.runs} runs, {options.threads} threads, batches of {options.batch_size}")
    print("eps      ours s  theirs s  ratio  ours %  theirs %  forwards/image  backwards/image  overhead")
    for text, eps in EPS.items():
        row = compare(library, model, batch, text, eps, options)
        print("{:8} {:6.2f} {:9.2f} {:6.2f} {:7.2f} {:9.2f} {:15.2f} {:16.2f} {:9.2f}".format(text, *row), flush=True)


def their_library():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import torchattacks
        except ImportError:
            sys.exit("torchattacks is not installed: pip install 'robusteval[torchattacks]'")
    return torchattacks


def subject(images):
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
    return model, Batch(x.permute(0, 3, 1, 2).float().div(255).contiguous(), y.long(), torch.arange(len(x)))


def compare(library, model, batch, text, eps, options):
    """One row of the table; the first run of each is not timed."""
    size, form = options.batch_size, evaluation_form(model, batch.x[:32]).model
    forward, backward = unit_costs(model, form, batch, size)
    theirs = library.PGD(model, eps=eps, alpha=2.5 * eps / STEPS, steps=STEPS, random_start=True)
    seconds = {"ours": [], "theirs": []}
    for run in range(options.runs + 1):
        start = time.perf_counter()
        outcome = robusteval.attack(model, *batch[:2], f"pgd(eps={text}, steps={STEPS})", batch_size=size)
        middle = time.perf_counter()
        torch.manual_seed(run)
        found = torch.cat([theirs(x, y) for x, y in zip(batch.x.split(size), batch.y.split(size), strict=True)])
        kept = predict(model, found, size).argmax(dim=1) == batch.y
        if run:
            seconds["ours"].append(middle - start)
            seconds["theirs"].append(time.perf_counter() - middle)
    ours, other = (statistics.median(seconds[name]) for name in ("ours", "theirs"))
    n = len(batch.x)
    last_words = n + int((outcome.inputs != batch.x).flatten(1).any(dim=1).sum())
    alone = last_words * forward[0] + (outcome.forwards - last_words) * forward[1] + outcome.backwards * backward
    accuracy = [100 * float(values.float().mean()) for values in (~outcome.broken, kept)]
    return ours, other, other / ours, *accuracy, outcome.forwards / n, outcome.backwards / n, ours / alone


def unit_costs(model, form, batch, size):
    """Seconds an image costs: forward in the original and in the attacked form, and backward in the latter."""
    x, y = (tensor[:size] for tensor in batch[:2])
    original, attacked = Oracle(model), Oracle(form)
    calls = (lambda: original.logits(x), lambda: attacked.logits(x), lambda: attacked.gradient(x, y))
    judge, forward, both = (statistics.median(timed(call) for _ in range(6)) / len(x) for call in calls)
    return (judge, forward), both - forward


def timed(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
