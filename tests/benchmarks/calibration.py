"""Speed of the calibration metrics: ECE against netcal's, and 95 views with 1,000 bootstrap draws each.

    python tests/benchmarks/calibration.py [--rows 1000000] [--views 95] [--samples 10000] [--threads 2] [--all]

netcal starts from probabilities, ours from logits. A view is 10,000 samples of 10 classes with the metrics of issue 6
(`--all`: every registered one), the resampling weights shared as they are in the engine; `--threads` views at a time.
Times of the processor do not count what else the machine does.
"""

import argparse
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from robusteval.core.statistics import poisson_weights
from robusteval.metrics import METRICS, Predictions, estimate, expected_calibration_error

NAMED = ("accuracy", "ece", "ece-mass", "ece-debiased", "ece-classwise", "ks", "nll", "brier", "aurc")
CLASSES = 10


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("rows", 1_000_000), ("runs", 5), ("views", 95), ("samples", 10_000), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--all", action="store_true")
    options = parser.parse_args()
    against_netcal(options.rows, options.runs)
    views(tuple(METRICS.classes) if options.all else NAMED, options)


def made(rows, seed):
    """Logits of a model that is right in about 7 of 10 samples, and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, rows)
    logits = 1.5 * rng.normal(size=(rows, CLASSES)) + 4 * np.eye(CLASSES)[labels] * (rng.random((rows, 1)) < 0.7)
    return logits.astype(np.float32), labels


def against_netcal(rows, runs):
    from netcal.metrics import ECE

    logits, labels = made(rows, 0)
    chances = np.exp(logits.astype(np.float64))
    chances /= chances.sum(axis=1, keepdims=True)
    contestants = {
        "robusteval, from logits": lambda: expected_calibration_error(logits, labels),
        "netcal, from probabilities": lambda: ECE(15).measure(chances, labels),
    }
    times, found = {name: [] for name in contestants}, {}
    for _ in range(runs + 1):
        for name, contestant in contestants.items():
            begun = time.perf_counter()
            found[name] = contestant()
            times[name].append(time.perf_counter() - begun)
    medians = {name: statistics.median(values[1:]) for name, values in times.items()}
    ours, theirs = medians.values()
    for name, seconds in medians.items():
        print(f"{name:28} {seconds:7.3f} s   ECE {found[name]:.12f}")
    print(f"{rows} x {CLASSES}: {theirs / ours:.1f} times netcal's speed")


def views(names, options):
    made_views = [made(options.samples, seed) for seed in range(min(8, options.views))]
    begun = time.perf_counter()
    weights = poisson_weights(np.arange(options.samples))
    drawn = time.perf_counter() - begun
    spent = dict.fromkeys(names, 0.0)

    def view(number):
        predictions = Predictions.from_logits(*made_views[number % len(made_views)])
        for name in names:
            start = time.thread_time()
            estimate(METRICS.parse(name), predictions, weights=weights)
            spent[name] += time.thread_time() - start

    begun = time.perf_counter()
    with ThreadPoolExecutor(options.threads) as pool:
        list(pool.map(view, range(options.views)))
    total = time.perf_counter() - begun
    for name, seconds in sorted(spent.items(), key=lambda item: -item[1]):
        print(f"  {name:20} {1e3 * seconds / options.views:8.1f} ms of processor a view")
    busy = sum(spent.values())
    print(
        f"{options.views} views of {options.samples}, {len(names)} metrics, {options.threads} at a time: {total:.1f} s"
    )
    print(f"of processor {busy:.1f} s; weights, once for all views, {drawn:.2f} s")


if __name__ == "__main__":
    main()
