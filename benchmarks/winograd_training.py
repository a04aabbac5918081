"""Does Winograd's rounding matter for training? The same networks trained with and without it, from several seeds.

    python benchmarks/winograd_training.py [--seeds 5] [--epochs 4] [--pictures 5000]

small_vgg (3×3 filters) learns CIFAR-10, LeNet-5 (5×5 filters, which Winograd's algorithm here has no part in) the
digits. Test accuracies with and without should differ no more than those of different seeds do.
"""

from __future__ import annotations

import argparse
import statistics

import numpy as np

import coolnn as cool
from coolnn.data import Loader


def accuracy_after(name: str, source: str, seed: int, epochs: int, pictures: int, winograd: bool) -> float:
    """Percent of the test pictures that are named rightly after a short training."""
    splits = cool.data.load(source)
    train, test = splits.train, splits.test
    order = np.random.default_rng(seed).permutation(len(train))[:pictures]
    with cool.options(winograd=winograd):
        cool.manual_seed(seed)
        net = cool.models.create(name, num_classes=len(train.classes))
        loader = Loader(train.subset(order.tolist()), 64, shuffle=True, preprocessing=net.preprocessing, seed=seed)
        optimizer = cool.optim.AdamW(net.parameters(), lr=2e-3)
        step = cool.compile_step(net, optimizer=optimizer)
        for epoch in range(epochs):
            for batch in loader.epoch(epoch):
                step(batch.images, batch.labels)
        run = cool.compile(net)
        right = 0
        for batch in Loader(test, 250, preprocessing=net.preprocessing):
            right += int((run(batch.images).numpy().argmax(1) == batch.labels).sum())
    return 100 * right / len(test)


def main() -> None:
    """Prints one line a seed and the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--pictures", type=int, default=5000)
    arguments = parser.parse_args()
    for name, source in (("small_vgg", "cifar10"), ("lenet5", "digits")):
        results: dict[bool, list[float]] = {True: [], False: []}
        for seed in range(arguments.seeds):
            for winograd in (True, False):
                found = accuracy_after(name, source, seed, arguments.epochs, arguments.pictures, winograd)
                results[winograd].append(found)
            print(f"{name} seed {seed}: with {results[True][-1]:.2f} %, without {results[False][-1]:.2f} %", flush=True)
        for winograd, found_all in results.items():
            spread = statistics.stdev(found_all) if len(found_all) > 1 else 0.0
            print(f"{name} {'with' if winograd else 'without'}: {statistics.mean(found_all):.2f} ± {spread:.2f} %")


if __name__ == "__main__":
    main()
