"""Train a tiny model on one device and on two, in a process of its own; prints both histories.

TensorFlow has to know of logical devices before it starts, which inside pytest it has.
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

from data.augmentation import AugmentationSettings
from models.bundle import ClassProbabilities, load_model
from training.callbacks import EpochLog
from training.early_stopping import EarlyStopping
from training.loop import TrainingData, train_model
from training.losses import LogitAdjustedCrossentropy
from training.phases import Phase
from training.run import Run
from training.schedules import OptimizerSettings

SIZE, BATCH, STEPS = 16, 16, 3
# In batches of 16, the last of 17 validation images would leave the second device without any.
TRAIN, VALIDATION = BATCH * STEPS, 17


def build(*, batch_norm: bool) -> keras.Model:
    description = {"model": "tiny", "class_names": ("a", "b"), "image_size": SIZE}
    norm = keras.layers.BatchNormalization if batch_norm else keras.layers.LayerNormalization
    return keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
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


def make_data() -> tuple[TrainingData, np.ndarray]:
    """Return training data at two image sizes, and all images."""
    rng = np.random.default_rng(0)
    count = TRAIN + VALIDATION
    labels = np.arange(count) % 2
    images = rng.integers(0, 240, (count, SIZE, SIZE, 3)) + 14 * labels[:, None, None, None]
    images, targets = images.astype(np.uint8), np.eye(2, dtype=np.float32)[labels]
    data = TrainingData(
        train_images={size: images[:TRAIN, :size, :size] for size in (12, SIZE)},
        train_targets=targets[:TRAIN],
        train_weights=np.where(labels[:TRAIN] == 0, 0.5, 1.5).astype(np.float32),
        validation_images={size: images[TRAIN:, :size, :size] for size in (12, SIZE)},
        validation_targets=targets[TRAIN:],
        batch_size=BATCH,
    )
    return data, images


def train(strategy: tf.distribute.Strategy, folder: str, *, batch_norm: bool) -> dict:
    data, images = make_data()
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = build(batch_norm=batch_norm)
    result = train_model(
        model,
        data,
        phases=[Phase("small", 1, 1e-2, image_size=12), Phase("full", 2, 1e-2)],
        loss=LogitAdjustedCrossentropy(np.zeros(2), label_smoothing=0.05),
        augmentation=AugmentationSettings(rotation_degrees=180, view=(0.8, 1)),
        optimizer=OptimizerSettings(weight_decay=1e-4, average_epochs=2 / STEPS),
        early_stopping=EarlyStopping("loss", 10),
        run=Run(folder),
    )
    saved = load_model(Path(folder, "model.keras"))
    return {
        "replicas": strategy.num_replicas_in_sync,
        "history": result.history,
        "saved": saved.predict_on_batch(images[:4]).tolist(),
    }


class StoppedError(Exception):
    pass


def train_with_a_stop(strategy: tf.distribute.Strategy, folder: str, *, batch_norm: bool) -> dict:
    """Stop after the second epoch, and resume."""
    log_epoch = EpochLog.on_epoch_end

    def stop(self, epoch: int, logs: dict | None = None) -> None:
        log_epoch(self, epoch, logs)
        if epoch == 1:
            raise StoppedError

    EpochLog.on_epoch_end = stop
    with contextlib.suppress(StoppedError):
        train(strategy, folder, batch_norm=batch_norm)
    EpochLog.on_epoch_end = log_epoch
    return train(strategy, folder, batch_norm=batch_norm)


def main() -> None:
    """Train on one device, on two, and on two with a stop; `--batch_norm` adds BatchNorm."""
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    batch_norm = "--batch_norm" in sys.argv
    both = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    runs = []
    for run, strategy in (
        (train, tf.distribute.get_strategy()),
        (train, both),
        (train_with_a_stop, both),
    ):
        with tempfile.TemporaryDirectory() as folder:
            runs.append(run(strategy, folder, batch_norm=batch_norm))
    print(json.dumps(runs))


if __name__ == "__main__":
    main()
