"""The cost of a training step under each variant, over plain mixup's: ResNet-20, batch of 128, in turns in one process.

`python tests/benchmarks/variants.py [--runs 15] [--threads 1] [--batch-size 128] [--variants erm,mixup]`

`ratio` is the median of the step times over the median of mixup's in the same rounds. The images are random: no variant
takes longer for real ones. Fitted parts are fitted first, on few images, and are not counted.
"""

import argparse
import statistics
import time

import torch

from robusteval.core.rng import Stream
from robusteval.core.spec import split
from robusteval.data import Augmentation, Split
from robusteval.models import ARCHITECTURES
from robusteval.models.classifier import Classifier
from robusteval.models.fit import Settings, State, advance
from robusteval.variants import VARIANTS, Fitting

CLASSES, SHAPE = 10, (3, 32, 32)
ARCH = "resnet-cifar(depth=20)"


class Untrained:
    """An ERM network with starting weights: its step costs what a trained one's does."""

    key = "untrained"

    def __call__(self, epochs):
        return network().eval()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("runs", 15), ("threads", 1), ("batch-size", 128)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--variants", default=",".join(VARIANTS.classes))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    train = images(512)
    fitting = Fitting(train, seed=0, erm=Untrained(), augmentation=Augmentation())
    specs = ["mixup", *(spec for spec in split(options.variants) if spec != "mixup")]
    steps = {spec: Run(spec, fitting, options.batch_size) for spec in specs}
    times = {spec: [] for spec in specs}
    for number in range(options.runs + 2):
        for spec, step in steps.items():
            begun = time.perf_counter()
            step(number)
            if number >= 2:
                times[spec].append(time.perf_counter() - begun)
    base = statistics.median(times["mixup"])
    print(f"{ARCH}, batch {options.batch_size}, {options.threads} threads, {options.runs} rounds")
    print(f"{'variant':24} {'ms':>8} {'ratio':>6}")
    for spec in specs:
        middle = statistics.median(times[spec])
        print(f"{spec:24} {middle * 1e3:8.1f} {middle / base:6.2f}")


class Run:
    """Training steps of one variant on one batch."""

    def __init__(self, spec, fitting, batch_size):
        self.variant = VARIANTS.parse(spec).prepared(fitting)
        self.batch = fitting.train.first(batch_size).batch()
        self.model = network()
        self.settings = Settings(1, 1000)
        self.state = State(self.model, self.settings)

    def __call__(self, number):
        loss = self.variant.loss(self.model, self.batch, CLASSES, Stream.seeded(0).stream("step", number))
        advance(self.state, loss, self.settings)


def network():
    model = Classifier(ARCHITECTURES.parse(ARCH).initialised(SHAPE, CLASSES), [0.5] * 3, [0.25] * 3)
    return model.to(memory_format=torch.channels_last).train()


def images(count):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (count, *SHAPE), generator=generator, dtype=torch.uint8)
    return Split.of(pixels, torch.arange(count) % CLASSES)


if __name__ == "__main__":
    main()
