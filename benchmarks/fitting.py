"""Images, batches and models as in a training, for the benchmarks that fit a model."""

from __future__ import annotations

import time
from collections.abc import Callable

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from config import TrainConfig
from data.augmentation import build_augmentation
from data.ham10000 import CLASS_NAMES
from data.pipeline import make_dataset
from data.targets import one_hot
from models.factory import build_model
from models.fused_layers import fuse_layers
from models.transfer import unfreeze
from training.adam import FusedAdam
from training.losses import BalancedAccuracy, LogitAdjustedCrossentropy
from training.recipe import augmentation_settings


def make_batches(frame: pd.DataFrame, images: np.ndarray, settings: TrainConfig) -> tf.data.Dataset:
    """Make endless augmented batches, as for a training.

    Args:
        frame: with `label`.
        images: its images, uint8 `[rows, size, size, 3]`, perhaps stored larger.
        settings: of the training.
    """
    return make_dataset(
        images,
        one_hot(frame["label"], CLASS_NAMES),
        weights=np.ones(len(images), np.float32),
        batch_size=settings.batch_size,
        augmentation=build_augmentation(augmentation_settings(settings), settings.image_size),
    )


def compile_model(settings: TrainConfig, fine_tune_layers: int | None) -> keras.Model:
    """Build and compile a model, with random weights, which are as fast as pretrained ones.

    Args:
        settings: of the training.
        fine_tune_layers: number of final backbone layers to train, -1 for all; None for a model
            without a backbone.
    """
    model = build_model(
        settings.model,
        image_size=settings.image_size,
        class_names=CLASS_NAMES,
        dropout=settings.dropout,
        batch_norm_momentum=settings.batch_norm_momentum,
    )
    if fine_tune_layers is not None:
        unfreeze(model, fine_tune_layers, batch_norm_trains=settings.train_batch_norm)
    fuse_layers(model)
    model.compile(
        optimizer=FusedAdam(1e-4, decay=settings.weight_decay, use_ema=fine_tune_layers != 0),
        loss=LogitAdjustedCrossentropy(np.zeros(len(CLASS_NAMES)), settings.label_smoothing),
        metrics=["accuracy", BalancedAccuracy(len(CLASS_NAMES))],
    )
    return model


def bare_step(model: keras.Model, batch: tuple) -> Callable[[], object]:
    """Return a function that trains one step on a batch that is already in memory.

    Args:
        model: compiled.
        batch: images, targets and weights.
    """
    ready = iter(tf.data.Dataset.from_tensors(batch).repeat())
    model.make_train_function()
    return lambda: model.train_function(ready)


class EpochSeconds(keras.callbacks.Callback):
    """Measures the duration of each epoch."""

    def on_train_begin(self, logs: dict | None = None) -> None:
        self.durations: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.durations.append(time.perf_counter() - self.started)


def last_epoch_seconds(
    model: keras.Model, batches: tf.data.Dataset, *, steps: int, epochs: int = 1
) -> float:
    """Fit a model and return the duration of the last epoch.

    Args:
        model: compiled.
        batches: endless, from `make_batches`.
        steps: in an epoch.
        epochs: number of epochs.
    """
    clock = EpochSeconds()
    model.fit(
        batches,
        epochs=epochs,
        steps_per_epoch=steps,
        callbacks=[clock],
        shuffle=False,
        verbose=0,
    )
    return clock.durations[-1]
