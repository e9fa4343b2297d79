"""Images per second of the input pipeline, compared with Keras's legacy ImageDataGenerator.

Both read the same files and rotate, flip, zoom, shift, brighten and tint them into batches of the
input size; this project changes contrast and sharpness as well. The first epoch decodes all files;
in later ones this project has the decoded images, and `flow_from_dataframe` decodes again. Measured
with the images as they are, and with the same images enlarged to 600 x 450 pixels, the size in
which HAM10000 is published.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.machine import RECIPE, alternate, decode, read_images, run_benchmark, seconds

if TYPE_CHECKING:
    import pandas as pd

    from config import TrainConfig

# Batches that may be ready before a measurement starts.
AHEAD = 8
OURS = "this project, later epochs"
BASELINE = "ImageDataGenerator, as fit uses it"
PUBLISHED_SIZE = (600, 450)


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; returns its exit code."""
    return run_benchmark(
        "pipeline",
        __doc__,
        measure,
        argv,
        images=(2000, "number of images"),
        image_size=(RECIPE.image_size, "side length of the model's input, pixels", 32),
        rounds=(3, "measurements of each way"),
    )


def measure(options: argparse.Namespace) -> None:
    """Measure both sizes and print the table."""
    frame = read_images(options.data_dir, options.images)
    settings = dataclasses.replace(RECIPE, image_size=options.image_size)

    from models.backend import start_tensorflow

    start_tensorflow()

    from data.images import load_pixels

    height, width, _ = load_pixels(frame["path"].iloc[0]).shape
    with tempfile.TemporaryDirectory() as folder:
        enlarged = enlarge(frame, Path(folder))
        tables = {
            f"{width} x {height}": measure_rates(frame, settings, options.rounds),
            "{} x {}".format(*PUBLISHED_SIZE): measure_rates(enlarged, settings, options.rounds),
        }
    print(f"{len(frame)} images to {settings.image_size} px, images per second (ratio)\n")
    print(f"{'':<36}" + "".join(f"{size:>18}" for size in tables))
    rates = next(iter(tables.values()))
    for name in rates:
        cells = [
            f"{table[name]:>10,.0f} ({table[name] / table[BASELINE]:4.1f})"
            for table in tables.values()
        ]
        print(f"{name:<36}" + "".join(f"{cell:>18}" for cell in cells))
    print(f"ratio: {rates[OURS] / rates[BASELINE]:.1f}")


def measure_rates(frame: pd.DataFrame, settings: TrainConfig, rounds: int) -> dict[str, float]:
    """Return the images per second of each way."""
    cores = os.cpu_count()
    batches, steps = start_ours(frame, settings)
    legacy, threaded = start_legacy(frame, settings, 1), start_legacy(frame, settings, cores)

    def later_epoch() -> float:
        take(batches, AHEAD)
        return seconds(lambda: take(batches, steps))

    durations = alternate(
        rounds,
        **{
            "this project, first epoch": lambda: seconds(
                lambda: take(*start_ours(frame, settings))
            ),
            OURS: later_epoch,
            BASELINE: lambda: seconds(legacy),
            f"ImageDataGenerator, {cores} threads": lambda: seconds(threaded),
        },
    )
    return {name: len(frame) / value for name, value in durations.items()}


def start_ours(frame: pd.DataFrame, settings: TrainConfig) -> tuple[Iterator, int]:
    """Decode all images; returns endless batches and their number in an epoch."""
    from benchmarks.fitting import make_batches
    from data.pipeline import count_steps

    images = decode(frame["path"].tolist(), settings.stored_size(settings.image_size))
    steps = count_steps(len(images), settings.batch_size)
    return iter(make_batches(frame, images, settings)), steps


def take(batches: Iterator, count: int) -> None:
    """Take batches and drop them."""
    for _ in range(count):
        next(batches)


def start_legacy(frame: pd.DataFrame, settings: TrainConfig, threads: int) -> Callable[[], None]:
    """Return a function that takes an epoch of batches; `Model.fit` uses one thread."""
    import tensorflow as tf

    generator = tf.keras.preprocessing.image.ImageDataGenerator(
        rotation_range=settings.rotation_degrees,
        zoom_range=settings.view,
        width_shift_range=settings.shift,
        height_shift_range=settings.shift,
        horizontal_flip=True,
        vertical_flip=True,
        brightness_range=(1 - settings.brightness, 1 + settings.brightness),
        channel_shift_range=settings.color_cast * 255,
        fill_mode="reflect",
    )
    batches = generator.flow_from_dataframe(
        frame,
        x_col="path",
        y_col="label",
        target_size=(settings.image_size, settings.image_size),
        batch_size=settings.batch_size,
    )

    def epoch() -> None:
        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(batches.__getitem__, range(len(batches))):
                pass

    return epoch


def enlarge(frame: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Write the images in the published size, and return the table with their paths."""
    from PIL import Image, ImageOps

    from data.images import load_pixels

    paths = []
    for path in frame["path"]:
        image = Image.fromarray(load_pixels(path))
        paths.append(str(folder / Path(path).name))
        ImageOps.fit(image, PUBLISHED_SIZE, Image.Resampling.BICUBIC).save(paths[-1], quality=95)
    return frame.assign(path=paths)


if __name__ == "__main__":
    sys.exit(main())
