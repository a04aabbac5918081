"""Does finding top patches cost more than looking at the pictures? A pass of both over the same folder, in turns.

    python benchmarks/top_patches.py [--model vgg16] [--pictures 1000] [--side 224] [--rounds 1]

Plain inference is the package's loader and the compiled network, up to the last map like the pass, which also finds
for every channel of the last map of each size its nine strongest answers. Pictures are made here, of noise smoothed a
little, and written as JPEG.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

import coolnn as cool
from coolnn.data import FolderDataset, Loader, Preprocessing


def write_pictures(folder: Path, count: int, side: int) -> None:
    """So many JPEG files in a folder."""
    rng = np.random.default_rng(0)
    for i in range(count):
        small = Image.fromarray(rng.integers(0, 256, (side // 4, side // 4, 3), np.uint8))
        small.resize((side, side), Image.Resampling.BICUBIC).save(folder / f"{i % 2}" / f"{i:05}.jpg", quality=90)


def main() -> None:
    """Prints the seconds of each pass, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="vgg16")
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    net = cool.models.create(options.model).eval()
    last = cool.explain.Layers(net, (3, options.side, options.side)).last_map
    prepare = Preprocessing(size=(options.side, options.side), channels=3)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for inner in ("0", "1"):
            (folder / inner).mkdir()
        write_pictures(folder, options.pictures, options.side)
        data = FolderDataset(folder, channels=3)
        seconds: dict[str, list[float]] = {"plain inference": [], "top patches": []}
        for _ in range(options.rounds):
            begun = time.perf_counter()
            run = cool.compile(lambda x: cool.explain.tapped(net, x, [last])[1])
            for batch in Loader(data, options.batch, preprocessing=prepare):
                run(batch.images)
            seconds["plain inference"].append(time.perf_counter() - begun)
            del run
            begun = time.perf_counter()
            cool.explain.top_patches(net, folder, preprocessing=prepare, batch_size=options.batch)
            seconds["top patches"].append(time.perf_counter() - begun)
    for what, spent in seconds.items():
        print(f"{what:16} {min(spent):8.2f} s  {options.pictures / min(spent):7.2f} pictures/s")
    print(f"ratio {min(seconds['top patches']) / min(seconds['plain inference']):.3f}")


if __name__ == "__main__":
    main()
