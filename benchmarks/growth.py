"""How time and memory grow with the number of images.

For each size: seconds to decode the pictures, memory of the decoded pictures, and seconds of an
epoch of the default recipe's second phase. The ratio is the time for an image in the smallest
size over that in the largest: 1 means that cost grows no faster than the data.
"""

import time

import keras
import numpy as np

from benchmarks.machine import parse_arguments, training_augmentation, with_model_defaults
from benchmarks.training import EpochSeconds, compile_model
from config import TrainConfig
from data.ham10000 import CLASS_NAMES, read_metadata
from data.memory import free_memory
from data.pipeline import count_steps, decode_images, make_dataset

SETTINGS = with_model_defaults(TrainConfig())
COUNTS = (1_000, 2_500, 5_000, 10_015)


def epoch_seconds(model: keras.Model, images: np.ndarray, targets: np.ndarray) -> float:
    """Return the time of an epoch."""
    dataset = make_dataset(
        images,
        targets,
        weights=np.ones(len(images), np.float32),
        batch_size=SETTINGS.batch_size,
        augmentation=training_augmentation(SETTINGS),
    )
    clock = EpochSeconds()
    steps = count_steps(len(images), SETTINGS.batch_size)
    model.fit(dataset, steps_per_epoch=steps, callbacks=[clock], shuffle=False, verbose=0)
    return clock.taken[-1]


def main() -> None:
    """Measure each size and print the table."""
    args = parse_arguments(__doc__)
    frame = read_metadata(args.data_dir).dropna(subset="path")
    side = round(SETTINGS.image_size * SETTINGS.stored_size_factor)
    model = compile_model(SETTINGS.fine_tune_layers)
    print(f"{'images':>7}{'decode':>10}{'in memory':>12}{'epoch':>9}{'images/s':>10}")
    rates = []
    for count in [count for count in COUNTS if count <= len(frame)]:
        part = frame.head(count)
        started = time.perf_counter()
        images, _ = decode_images(part["path"].tolist(), image_size=side)
        decoding = time.perf_counter() - started
        targets = np.eye(len(CLASS_NAMES), dtype=np.float32)[
            part["label"].map(CLASS_NAMES.index).to_numpy()
        ]
        if not rates:
            epoch_seconds(model, images, targets)  # compiles
        epoch = epoch_seconds(model, images, targets)
        rates.append(count / epoch)
        print(
            f"{count:>7,}{decoding:>8.1f} s{images.nbytes / 1e9:>9.2f} GB{epoch:>7.0f} s"
            f"{rates[-1]:>10.0f}",
            flush=True,
        )
    free = free_memory()
    if free:
        limit = int(free / 2 / side**2 / 3)
        print(f"\n{free / 1e9:.1f} GB are free: up to {limit:,} images stay in memory")
    print(f"ratio: {rates[-1] / rates[0]:.2f}")


if __name__ == "__main__":
    main()
