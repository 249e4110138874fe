"""The time of the 19 common corruptions against the package imagecorruptions, on the same images, in turns.

`python tests/benchmarks/corruptions.py [--images 500] [--rounds 5] [--threads 2] [--severity 3] [--only fog,snow]`

The images are CIFAR-10 test images of 32 px, from the folder ROBUSTEVAL_SHARED_DATA or shared/data. The package gets
them one by one, robusteval in one call, family imagenet. `ratio` is the package's median time over robusteval's; both
run once before, uncounted, as the package compiles its glass blur then. The last line is all of them together. On a
machine that does other work, count the processor's time of one thread: `--clock cpu --threads 1`.
"""

import argparse
import os
import statistics
import sys
import time
import warnings
from pathlib import Path

import imagecorruptions
import numpy as np
import torch

from robusteval.core.rng import Stream
from robusteval.corruptions import CORRUPTIONS

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
CATEGORIES = ("noise", "blur", "weather", "digital", "extra")


def main():
    names = [name for category in CATEGORIES for name, each in CORRUPTIONS.classes.items() if each.category == category]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("images", 500), ("rounds", 5), ("threads", 2), ("severity", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--only", default=",".join(names))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    images = photographs(options.images)
    print(
        f"{len(images)} images, severity {options.severity}, {options.threads} threads, {options.rounds} rounds, "
        f"{options.clock} clock"
    )
    print(f"{'corruption':20} {'original ms':>12} {'ours ms':>9} {'ratio':>7}")
    totals = [0.0, 0.0]
    for name in options.only.split(","):
        both = original(name, images, options.severity), ours(name, images, options.severity)
        times = in_turns(*both, options.rounds, CLOCKS[options.clock])
        totals = [total + each for total, each in zip(totals, times, strict=True)]
        print(row(name, times), flush=True)
    print(row("total", totals))


def in_turns(first, second, rounds, clock):
    """The median times of two functions in milliseconds."""
    times = []
    for _ in range(rounds + 1):
        begun = clock()
        first()
        middle = clock()
        second()
        times.append((middle - begun, clock() - middle))
    return [statistics.median(column) * 1e3 for column in zip(*times[1:], strict=True)]


def original(name, images, severity):
    def run():
        with warnings.catch_warnings():
            # Spatter divides by zero where no water falls.
            warnings.simplefilter("ignore")
            for image in images:
                imagecorruptions.corrupt(image, severity, name.replace("-", "_"))

    return run


def ours(name, images, severity):
    corruption, rng = CORRUPTIONS.parse(f"{name}(family='imagenet')"), Stream.seeded(0)
    x, ids = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().float() / 255, torch.arange(len(images))
    return lambda: corruption(x, severity, ids, rng)


def row(name, times):
    return f"{name:20} {times[0]:12.1f} {times[1]:9.1f} {times[0] / times[1]:7.1f}"


def photographs(count):
    """CIFAR-10 test images [count, 32, 32, 3] of bytes, repeated where there are fewer."""
    default = Path(__file__).parents[3] / "shared" / "data"
    path = Path(os.environ.get("ROBUSTEVAL_SHARED_DATA", default)) / "cifar10-slice.npz"
    if not path.is_file():
        sys.exit(f"{path} is missing: set ROBUSTEVAL_SHARED_DATA to the folder that holds cifar10-slice.npz")
    with np.load(path) as arrays:
        return np.resize(arrays["test_images"], (count, 32, 32, 3))


if __name__ == "__main__":
    main()
