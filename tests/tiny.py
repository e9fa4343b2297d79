"""A tiny model and data set, on which tests train in a second."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from data.augmentation import AugmentationSettings
from data.pipeline import make_dataset
from models.bundle import ClassProbabilities
from training import callbacks
from training.early_stopping import EarlyStopping
from training.loop import Result, TrainingData, train_model
from training.losses import LogitAdjustedCrossentropy
from training.phases import Phase
from training.run import Run
from training.schedules import OptimizerSettings

COUNT, STEPS = 16, 2
CLASSES = ("dark", "bright")


def tiny_images(image_size: int, count: int = COUNT) -> tuple[np.ndarray, np.ndarray]:
    """Return noise in two brightnesses, and one-hot targets."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 2
    images = rng.integers(0, 100, (count, image_size, image_size, 3))
    images += 150 * labels[:, None, None, None]
    return images.astype(np.uint8), np.eye(2, dtype=np.float32)[labels]


class PlainData(TrainingData):
    """Training data without augmentation, whose compilation would take most of the time."""

    def train_batches(self, image_size, augmentation, *, first_epoch):
        return make_dataset(
            self.train_images[image_size],
            self.train_targets,
            weights=self.train_weights,
            batch_size=self.batch_size,
            augmentation=lambda images, *, seed, step: tf.cast(images, tf.float32),
            seed=self.seed,
            first_epoch=first_epoch,
        )


def tiny_data(*image_sizes: int, seed: int = 0, plain: bool = True) -> TrainingData:
    """Return training data at these image sizes, each a crop of the largest."""
    images, targets = tiny_images(max(image_sizes))
    crops = {size: images[:, :size, :size] for size in image_sizes}
    return (PlainData if plain else TrainingData)(
        train_images=crops,
        train_targets=targets,
        train_weights=np.ones(COUNT, np.float32),
        validation_images=crops,
        validation_targets=targets,
        batch_size=COUNT // STEPS,
        seed=seed,
    )


def tiny_model(image_size: int = 8) -> keras.Model:
    """Return a model with convolution, BatchNorm and Dropout."""
    description = {"model": "tiny", "class_names": CLASSES, "image_size": image_size}
    return keras.Sequential(
        [
            keras.Input((image_size, image_size, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(4, 3),
            keras.layers.BatchNormalization(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(2),
            ClassProbabilities(description),
        ]
    )


def fit(
    folder: Path,
    *,
    model: keras.Model,
    data: TrainingData,
    phases: list[Phase],
    augmentation: AugmentationSettings | None = None,
    monitor: str = "loss",
    patience: int = 10,
    **optimizer,
) -> Result:
    """Train a model in a folder; further options are those of the optimizer."""
    return train_model(
        model,
        data,
        phases=phases,
        loss=LogitAdjustedCrossentropy(np.zeros(2)),
        augmentation=augmentation or AugmentationSettings(),
        optimizer=OptimizerSettings(**optimizer),
        early_stopping=EarlyStopping(monitor, patience),
        run=Run(folder),
    )


class StoppedError(Exception):
    """Ends a training in a test."""


@contextlib.contextmanager
def stopping_after(finished: int, monkeypatch) -> Iterator[None]:
    """Stop a training when so many epochs are finished and the checkpoint is written."""
    save = callbacks.save_checkpoint

    def save_and_stop(path, model, history):
        save(path, model, history)
        if len(history) == finished:
            raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(callbacks, "save_checkpoint", save_and_stop)
        with pytest.raises(StoppedError):
            yield


def finish_an_epoch(model, *_, callbacks: list, **__) -> None:
    """Stand in for `keras.Model.fit`, whose first step takes seconds, and only end an epoch."""
    metrics = dict.fromkeys(("loss", "accuracy", "balanced_accuracy"), 0.5)
    logs = metrics | {f"val_{name}": value for name, value in metrics.items()}
    epoch = keras.callbacks.CallbackList(callbacks, model=model)
    epoch.on_epoch_begin(0)
    epoch.on_epoch_end(0, logs)


def read_events(folder: Path) -> list[tuple[str, int, object]]:
    """Return tag, step and value or image of what event files hold, in the order of the files."""
    found = []
    for path in sorted(folder.iterdir()):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            for value in event.summary.value:
                content = value.image if value.HasField("image") else value.simple_value
                found.append((value.tag, event.step, content))
    return found
