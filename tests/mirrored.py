"""Trains a tiny model on one device and on two, in a process of its own: prints both histories.

TensorFlow wants to know of logical devices before it starts, which inside pytest it has.
"""

import contextlib
import json
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).parent.parent))

from data.augmentation import build_augmentation
from data.pipeline import even_batch_size, make_dataset
from models.bundle import ClassProbabilities, load_model
from models.progress import Progress
from models.training import Phase, train_model

SIDE, BATCH, STEPS = 16, 16, 3
# In batches of 16 the last of 17 validation images would leave the second device without any.
TRAINING, VALIDATION = BATCH * STEPS, 17


def build(*, batch_norm: bool) -> keras.Model:
    description = {"model": "tiny", "class_names": ("a", "b"), "image_size": SIDE}
    norm = keras.layers.BatchNormalization if batch_norm else keras.layers.LayerNormalization
    return keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            keras.layers.Rescaling(1 / 127.5, offset=-1),
            keras.layers.Conv2D(8, 3, strides=2),
            norm(),
            keras.layers.ReLU(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dropout(0.0),
            keras.layers.Dense(2),
            ClassProbabilities(description),
        ]
    )


def train(
    strategy: tf.distribute.Strategy, run_dir: str, *, batch_norm: bool, resume: bool = False
) -> dict:
    rng = np.random.default_rng(0)
    count = TRAINING + VALIDATION
    labels = np.arange(count) % 2
    images = rng.integers(0, 240, (count, SIDE, SIDE, 3)) + 14 * labels[:, None, None, None]
    images, targets = images.astype(np.uint8), np.eye(2, dtype=np.float32)[labels]
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = build(batch_norm=batch_norm)
    result = train_model(
        model,
        lambda side, first: make_dataset(
            images[:TRAINING, :side, :side],
            targets[:TRAINING],
            weights=np.where(labels[:TRAINING] == 0, 0.5, 1.5).astype(np.float32),
            batch_size=BATCH,
            augmentation=build_augmentation(image_size=side, rotation_degrees=180, view=(0.8, 1)),
            first_epoch=first,
        ),
        lambda side: make_dataset(
            images[TRAINING:, :side, :side],
            targets[TRAINING:],
            batch_size=even_batch_size(VALIDATION, batch_size=BATCH, devices=2),
        ),
        phases=[Phase("small", 1, 1e-2, image_size=12), Phase("full", 2, 1e-2)],
        steps_per_epoch=STEPS,
        run_dir=run_dir,
        average_steps=2.0,
        weight_decay=1e-4,
        label_smoothing=0.05,
        monitor="loss",
        resume=resume,
    )
    kept = load_model(Path(run_dir, "model.keras"))
    return {
        "replicas": strategy.num_replicas_in_sync,
        "history": result.history,
        "kept": kept.predict_on_batch(images[:4]).tolist(),
    }


class StoppedError(Exception):
    pass


def train_in_two(strategy: tf.distribute.Strategy, run_dir: str, *, batch_norm: bool) -> dict:
    """Stop after the second epoch, and go on."""
    report = Progress.on_epoch_end

    def stop(self, epoch: int, logs: dict | None = None) -> None:
        report(self, epoch, logs)
        if epoch == 1:
            raise StoppedError

    Progress.on_epoch_end = stop
    with contextlib.suppress(StoppedError):
        train(strategy, run_dir, batch_norm=batch_norm)
    Progress.on_epoch_end = report
    return train(strategy, run_dir, batch_norm=batch_norm, resume=True)


def main() -> None:
    """Train on one device, on two, and on two with a stop; `--batch_norm` has BatchNorm in it."""
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    batch_norm = "--batch_norm" in sys.argv
    both = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    runs = []
    for way in (tf.distribute.get_strategy(), both):
        with tempfile.TemporaryDirectory() as run_dir:
            runs.append(train(way, run_dir, batch_norm=batch_norm))
    with tempfile.TemporaryDirectory() as run_dir:
        runs.append(train_in_two(both, run_dir, batch_norm=batch_norm))
    print(json.dumps(runs))


if __name__ == "__main__":
    main()
