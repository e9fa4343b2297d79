"""Damage files in many ways and hand them to the functions that the scripts use.

Images (JPEG, PNG, TIFF, and some with a damaged EXIF block), metadata tables, model files
(`.keras`, `.tflite`), pretrained weights, run folders and the responses of a server are damaged by
a seeded generator. Each is either used or refused with one line; any other exception, a process
that dies, one that takes longer than the limit, and one that takes more than 2 GB are defects.
Workers process many cases each, with limited memory and time; those for images and tables do not
load TensorFlow.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.damage import DAMAGE
from benchmarks.intact import intact_files
from benchmarks.machine import describe_machine, number_type, peak_memory
from benchmarks.uses import USES
from config import RUNS_DIR
from support import InputError, cli
from support.files import make_folder

PROGRAM = "python -m benchmarks.fuzz"
# Bytes of address space, and seconds per case.
KINDS = {
    "jpeg": (3 << 30, 20),
    "png": (3 << 30, 20),
    "tiff": (3 << 30, 20),
    "exif": (3 << 30, 20),
    "table": (3 << 30, 20),
    "model": (12 << 30, 60),
    "tflite": (12 << 30, 60),
    "weights": (12 << 30, 60),
    "run_folder": (12 << 30, 60),
    "http": (3 << 30, 20),
}
# GB of memory that a case may take, with Python and TensorFlow.
_MAX_MEMORY = 2.0
# File names, which matter for these kinds.
_NAMES = {
    "table": "sample/HAM10000_metadata.csv",
    "model": "case.keras",
    "weights": "case.weights.h5",
}
OUTCOMES = ("used", "refused", "crashed", "hung", "over 2 GB")


def serve(kind: str, memory: int) -> None:
    """Read paths from standard input, and write an outcome for each, in one line."""
    import resource

    output = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    use = USES[kind]()
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    for line in sys.stdin:
        try:
            use(Path(line.rstrip("\n")))
            outcome = "used"
        except InputError as error:
            outcome = "refused" if str(error).isprintable() else "crashed: not one printable line"
        except BaseException as error:
            outcome = f"crashed: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        if (peak := peak_memory(children=True)) > _MAX_MEMORY:
            outcome = f"over 2 GB: {peak:.1f} GB, {outcome}"
        print(outcome, file=output, flush=True)


class Worker:
    """A process for cases of one kind, replaced when it dies or hangs."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.memory, self.limit = KINDS[kind]
        self.process: subprocess.Popen | None = None

    def ask(self, path: Path) -> str:
        """Return the outcome of a case."""
        fresh = self.process is None
        if fresh:
            command = [sys.executable, "-W", "ignore", "-m", "benchmarks.fuzz", "--worker"]
            self.process = subprocess.Popen(
                [*command, self.kind],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        with contextlib.suppress(BrokenPipeError):  # the process died; it writes no outcome
            self.process.stdin.write(f"{path}\n")
            self.process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            # A new process has to start first.
            ready = selector.select(self.limit + 60 * fresh)
        outcome = self.process.stdout.readline().strip() if ready else "hung"
        if not outcome:
            outcome = f"crashed: the process died, exit code {self.process.wait()}"
            self.stop()
        elif not ready or outcome.startswith("over"):
            # The memory of a process only grows: the next case needs a new one.
            self.stop()
        return outcome

    def stop(self) -> None:
        """Stop the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
            self.process.stdout.close()
            self.process = None


def run(kinds: Sequence[str], cases: int, seed: int, folder: Path) -> dict[str, Counter]:
    """Run so many cases of each kind; returns the counts by kind, and prints each defect."""
    files = intact_files(folder, seed)
    counts: dict[str, Counter] = {}
    for kind in kinds:
        worker, counts[kind] = Worker(kind), Counter()
        # A data set is a folder: the table is beside the images that it names.
        path = folder / _NAMES.get(kind, f"case.{kind}")
        for i in range(cases):
            rng = np.random.default_rng([seed, list(KINDS).index(kind), i])
            intact = files[kind][rng.integers(len(files[kind]))]
            path.write_bytes(DAMAGE[kind](intact, rng))
            outcome = worker.ask(path)
            counts[kind][outcome.split(":")[0]] += 1
            if not outcome.startswith(("used", "refused")):
                copy = make_folder(Path(RUNS_DIR, "fuzz")) / f"{kind}-{seed}-{i}{path.suffix}"
                shutil.copy(path, copy)
                print(f"{copy}: {outcome}", flush=True)
        worker.stop()
    return counts


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; returns 1 if there is a defect."""
    return cli.run(PROGRAM, lambda: measure(argv))


def measure(argv: list[str] | None) -> int:
    """Run the cases and print the counts; returns the exit code."""
    parser = cli.ArgumentParser(prog=PROGRAM, description=__doc__)
    parser.add_argument(
        "--cases", type=number_type(int), default=200, help="cases of each kind (default: 200)"
    )
    parser.add_argument(
        "--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="default: all of them"
    )
    parser.add_argument(
        "--seed", type=number_type(int, 0), default=0, help="seed of the damage (default: 0)"
    )
    parser.add_argument("--worker", choices=KINDS, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.worker:
        serve(options.worker, KINDS[options.worker][0])
        return 0
    print(describe_machine(), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        counts = run(options.kinds, options.cases, options.seed, Path(folder))
    print(f"\n{'':<10}" + "".join(f"{outcome:>11}" for outcome in OUTCOMES))
    for kind, found in [*counts.items(), ("all", sum(counts.values(), Counter()))]:
        print(f"{kind:<10}" + "".join(f"{found[outcome]:>11,}" for outcome in OUTCOMES))
    defects = sum(found.total() - found["used"] - found["refused"] for found in counts.values())
    return 1 if defects else 0


if __name__ == "__main__":
    sys.exit(main())
