"""Feeds damaged files to the readers of weights until the time is over: python tools/fuzz_formats.py torch-zip

A reader may refuse a file with its own error and may read it, nothing else: another exception, a crash, more than a few
seconds or gigabytes are findings, kept in tests/corpus, where the tests read them ever after. Guided by coverage where
the package atheris is installed, by chance where it is not.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import random
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

SECONDS, MEMORY = 5.0, 8 << 30  # of one file; of the process

try:
    import atheris
except ImportError:
    atheris = None

with atheris.instrument_imports(include=["coolnn.formats", "zipfile"]) if atheris else contextlib.nullcontext():
    from weight_files import samples

    from coolnn.formats import FileFormatError, read_tensors


class Target:
    """Reads one damaged file after the other, and keeps those that should not end as they do."""

    def __init__(self, folder: Path, findings: Path, seconds: float) -> None:
        self.file, self.findings = folder / "damaged", findings
        self.end, self.count, self.read = time.monotonic() + seconds, 0, 0

    def __call__(self, content: bytes) -> None:
        self.count += 1
        self.file.write_bytes(content)
        began = time.process_time()
        try:
            for array in read_tensors(self.file).values():
                array.tobytes()  # every number is read
            self.read += 1
        except FileFormatError:
            pass
        except BaseException:
            self.keep(content, "error")
            raise
        if time.process_time() - began > SECONDS:
            self.keep(content, "slow")
            raise TimeoutError(f"a file of {len(content)} bytes took {time.process_time() - began:.1f} s")

    def keep(self, content: bytes, kind: str) -> None:
        """Writes a finding."""
        self.findings.mkdir(parents=True, exist_ok=True)
        path = self.findings / f"{kind}-{hashlib.sha256(content).hexdigest()[:12]}.bin"
        path.write_bytes(content)
        print(f"found {path}", file=sys.stderr)


def by_chance(target: Target, seeds: list[bytes]) -> None:
    """Random changes of the seeds, and of what came of them."""
    draw = random.Random(time.time_ns())
    pool = list(seeds)
    while time.monotonic() < target.end:
        content = bytearray(draw.choice(pool))
        for _ in range(draw.randint(1, 6)):
            if not content:
                break
            change, at = draw.randrange(5), draw.randrange(len(content))
            other = draw.choice(pool)
            cut = draw.randrange(len(other) + 1)
            if change == 0:
                content[at] = draw.randrange(256)
            elif change == 1:
                del content[at : at + draw.randint(1, 64)]
            elif change == 2:
                content[at:at] = draw.randbytes(draw.randint(1, 8))
            elif change == 3:
                content[at : at + 8] = draw.choice([0, 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1]).to_bytes(8, "little")
            else:
                content[at:at] = other[cut : cut + draw.randint(1, 64)]
        target(bytes(content))
        if len(pool) < 2000 and draw.random() < 0.01:
            pool.append(bytes(content))


def by_coverage(target: Target, seeds: list[bytes], folder: Path, seconds: float) -> None:
    """What atheris makes of the seeds."""
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(seeds):
        (corpus / str(number)).write_bytes(seed)
    limits = [f"-max_total_time={int(seconds)}", "-rss_limit_mb=0", "-timeout=600", "-max_len=4096"]
    words = [sys.argv[0], str(corpus), *limits, f"-artifact_prefix={folder}/", "-print_final_stats=1"]
    atheris.Setup(words, target)
    atheris.Fuzz()


def main() -> None:
    """Runs one format."""
    known: dict[str, list[bytes]] = samples()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("format", choices=known)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--findings", type=Path, default=ROOT / "tests" / "corpus")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    warnings.simplefilter("error")
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as scratch:
        target = Target(Path(scratch), options.findings / options.format, options.seconds)
        run: Callable[[], None] = lambda: by_chance(target, known[options.format])  # noqa: E731
        if atheris:
            run = lambda: by_coverage(target, known[options.format], Path(scratch), options.seconds)  # noqa: E731
        try:
            run()
        finally:
            print(f"{options.format}: {target.count:,} files, {target.read:,} of them read", flush=True)


if __name__ == "__main__":
    main()
