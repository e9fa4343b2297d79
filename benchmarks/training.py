"""How much of the speed of a bare training step `Model.fit` keeps with the real pipeline.

The bare step is the same compiled function on one batch that is already in memory. On a machine
without a GPU, images are gathered, augmented and batched on the processor that also trains.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from typing import TYPE_CHECKING

from benchmarks.machine import RECIPE, alternate, decode, read_images, run_benchmark, seconds

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; returns its exit code."""
    return run_benchmark(
        "training",
        __doc__,
        measure,
        argv,
        images=(2000, "number of images"),
        image_size=(RECIPE.image_size, "side length of the model's input, pixels", 32),
        steps=(30, "training steps in a measurement"),
        rounds=(5, "measurements of each way"),
    )


def measure(options: argparse.Namespace) -> None:
    """Measure with a frozen and with a trained backbone, and print the table."""
    frame = read_images(options.data_dir, options.images)

    from models.backend import start_tensorflow

    start_tensorflow()

    from benchmarks.fitting import compile_model, make_batches

    settings = dataclasses.replace(RECIPE, image_size=options.image_size)
    images = decode(frame["path"].tolist(), settings.stored_size(settings.image_size))
    dataset = make_batches(frame, images, settings)
    batch = next(iter(dataset))
    size = len(batch[0])
    print(f"{settings.image_size} px, batches of {size}, images per second\n")
    print(f"{'trained layers':<24}{'fit':>8}{'bare step':>12}{'ratio':>8}")
    ratios = []
    layers = settings.fine_tune_layers
    for count, name in ((0, "head"), (layers, f"head and {layers} layers")):
        model = compile_model(settings, count)
        durations = compare(model, dataset, batch, steps=options.steps, rounds=options.rounds)
        rates = {way: options.steps * size / value for way, value in durations.items()}
        ratios.append(rates["fit"] / rates["bare"])
        print(f"{name:<24}{rates['fit']:>8.0f}{rates['bare']:>12.0f}{ratios[-1]:>8.2f}", flush=True)
    print(f"ratio: {min(ratios):.2f}")


def compare(
    model: keras.Model, dataset: tf.data.Dataset, batch: tuple, *, steps: int, rounds: int
) -> dict[str, float]:
    """Return the seconds that the steps take in `fit` and bare."""
    from benchmarks.fitting import bare_step, last_epoch_seconds

    step = bare_step(model, batch)

    def bare() -> None:
        for _ in range(steps):
            step()

    bare()
    return alternate(
        rounds,
        # The first epoch fills the pipeline, which happens once in a training.
        fit=lambda: last_epoch_seconds(model, dataset, steps=steps, epochs=2),
        bare=lambda: seconds(bare),
    )


if __name__ == "__main__":
    sys.exit(main())
