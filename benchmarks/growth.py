"""How time and memory grow with the number of images.

For each number of images: the seconds to decode them, the memory of the decoded images, and the
seconds of an epoch of the default recipe at full image size. The ratio is the speed with most
images over that with fewest: 1 means that the cost grows no faster than the data.
"""

from __future__ import annotations

import argparse
import sys
import time

from benchmarks.machine import RECIPE, decode, read_images, run_benchmark
from data import DataError

COUNTS = (1_000, 2_500, 5_000, 10_015)


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; returns its exit code."""
    return run_benchmark("growth", __doc__, measure, argv)


def measure(options: argparse.Namespace) -> None:
    """Measure each number of images and print the table."""
    frame = read_images(options.data_dir)
    counts = [count for count in COUNTS if count <= len(frame)]
    if not counts:
        raise DataError(
            f"--data_dir: expected at least {COUNTS[0]:,} images in {options.data_dir}, received "
            f"{len(frame):,}"
        )

    from models.backend import start_tensorflow

    start_tensorflow()

    from benchmarks.fitting import compile_model, last_epoch_seconds, make_batches, stored_size
    from data.memory import free_memory
    from data.pipeline import count_steps

    size = stored_size(RECIPE)
    model = compile_model(RECIPE, RECIPE.fine_tune_layers)
    print(f"{'images':>7}{'decode':>10}{'in memory':>12}{'epoch':>9}{'images/s':>10}")
    rates = []
    for count in counts:
        part = frame.head(count)
        started = time.perf_counter()
        images = decode(part["path"].tolist(), size)
        decoding = time.perf_counter() - started
        steps = count_steps(count, RECIPE.batch_size)
        if not rates:
            # The first epoch compiles.
            last_epoch_seconds(model, make_batches(part, images, RECIPE), steps=steps)
        epoch = last_epoch_seconds(model, make_batches(part, images, RECIPE), steps=steps)
        rates.append(count / epoch)
        print(
            f"{count:>7,}{decoding:>8.1f} s{images.nbytes / 1e9:>9.2f} GB{epoch:>7.0f} s"
            f"{rates[-1]:>10.0f}",
            flush=True,
        )
    free = free_memory()
    if free:
        limit = int(free / 2 / size**2 / 3)
        print(f"\n{free / 1e9:.1f} GB are free: up to {limit:,} images stay in memory")
    print(f"ratio: {rates[-1] / rates[0]:.2f}")


if __name__ == "__main__":
    sys.exit(main())
