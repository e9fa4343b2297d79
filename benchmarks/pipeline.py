"""Images per second out of the input pipeline, beside Keras's legacy ImageDataGenerator.

Both read the same files and turn, mirror, zoom, shift, brighten and tint them into batches of the
input size; this project changes contrast and sharpness as well. A first epoch decodes all files, in
later ones this project has the decoded pictures, and `flow_from_dataframe` decodes again. The same
at the size in which HAM10000 is published, 600 x 450 pixels, for which pictures are enlarged.
"""

import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf
from PIL import Image, ImageOps

from benchmarks.machine import (
    alternate,
    parse_arguments,
    seconds,
    training_augmentation,
    with_model_defaults,
)
from config import TrainConfig
from data.ham10000 import CLASS_NAMES, read_metadata
from data.pipeline import count_steps, decode_images, make_dataset

SETTINGS = with_model_defaults(TrainConfig())
# Batches that may lie ready before the watch starts.
AHEAD = 8


def start_ours(paths: list[str]) -> Callable[[], None]:
    """Decode all images; returns a function that takes the next epoch."""
    side = round(SETTINGS.image_size * SETTINGS.stored_size_factor)
    images, _ = decode_images(paths, image_size=side)
    targets = np.zeros((len(images), len(CLASS_NAMES)), np.float32)
    batches = iter(
        make_dataset(
            images,
            targets,
            weights=targets[:, 0],
            batch_size=SETTINGS.batch_size,
            augmentation=training_augmentation(SETTINGS),
        )
    )

    def epoch() -> None:
        for _ in range(count_steps(len(images), SETTINGS.batch_size)):
            next(batches)

    epoch.skip = lambda: [next(batches) for _ in range(AHEAD)]
    return epoch


def start_legacy(frame: pd.DataFrame, threads: int) -> Callable[[], None]:
    """Return a function that takes an epoch; `Model.fit` uses one thread."""
    reach = SETTINGS.brightness
    generator = tf.keras.preprocessing.image.ImageDataGenerator(
        rotation_range=SETTINGS.rotation_degrees,
        zoom_range=SETTINGS.view,
        width_shift_range=SETTINGS.shift,
        height_shift_range=SETTINGS.shift,
        horizontal_flip=True,
        vertical_flip=True,
        brightness_range=(1 - reach, 1 + reach),
        channel_shift_range=SETTINGS.color_cast * 255,
        fill_mode="reflect",
    )
    side = SETTINGS.image_size
    batches = generator.flow_from_dataframe(
        frame,
        x_col="path",
        y_col="label",
        target_size=(side, side),
        batch_size=SETTINGS.batch_size,
    )

    def epoch() -> None:
        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(batches.__getitem__, range(len(batches))):
                pass

    return epoch


def enlarge(frame: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Write the pictures anew at 600 x 450."""
    paths = []
    for path in frame["path"]:
        with Image.open(path) as image:
            large = ImageOps.fit(image.convert("RGB"), (600, 450), Image.Resampling.BICUBIC)
        paths.append(str(folder / Path(path).name))
        large.save(paths[-1], quality=95)
    return frame.assign(path=paths)


def measure(frame: pd.DataFrame, rounds: int) -> dict[str, float]:
    """Return images per second of each way."""
    paths, cores = frame["path"].tolist(), os.cpu_count()
    ours = start_ours(paths)
    legacy, threaded = start_legacy(frame, 1), start_legacy(frame, cores)

    def later() -> float:
        ours.skip()
        return seconds(ours)

    took = alternate(
        rounds,
        **{
            "this project, first epoch": lambda: seconds(lambda: start_ours(paths)()),
            "this project, later epochs": later,
            "ImageDataGenerator, as fit uses it": lambda: seconds(legacy),
            f"ImageDataGenerator, {cores} threads": lambda: seconds(threaded),
        },
    )
    return {name: len(frame) / value for name, value in took.items()}


def main() -> None:
    """Measure both sizes and print the table."""
    args = parse_arguments(__doc__, images=(2000, "how many are used"), rounds=(3, "of each way"))
    frame = read_metadata(args.data_dir).dropna(subset="path").head(args.images)
    with Image.open(frame["path"].iloc[0]) as image:
        given = "{} x {}".format(*image.size)
    with tempfile.TemporaryDirectory() as folder:
        large = enlarge(frame, Path(folder))
        tables = {given: measure(frame, args.rounds), "600 x 450": measure(large, args.rounds)}
    print(f"{len(frame)} images to {SETTINGS.image_size} px, images per second (ratio)\n")
    print(f"{'':<36}" + "".join(f"{size:>18}" for size in tables))
    ratios = []
    for name in tables[given]:
        cells = []
        for table in tables.values():
            base = table["ImageDataGenerator, as fit uses it"]
            cells.append(f"{table[name]:>10,.0f} ({table[name] / base:4.1f})")
        print(f"{name:<36}" + "".join(f"{cell:>18}" for cell in cells))
    ours, base = "this project, later epochs", "ImageDataGenerator, as fit uses it"
    ratios = tables[given]
    print(f"ratio: {ratios[ours] / ratios[base]:.1f}")


if __name__ == "__main__":
    main()
