"""The usual way to train on HAM10000, with which `benchmarks.time_to_accuracy` compares.

MobileNetV2 at 224 px, fed by Keras's legacy `ImageDataGenerator.flow_from_dataframe`: three epochs
of the head, then all layers with Adam at 1e-4, plain cross-entropy. In one respect it is better
than most: BatchNorm keeps its ImageNet statistics, as Keras's guide to transfer learning
recommends. In training mode, with Keras's momentum of 0.999, they would lag for many epochs.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from benchmarks.machine import run_benchmark
from models.backbones import BACKBONES
from training.phases import Phase
from training.settings import build_train_config

if TYPE_CHECKING:
    import keras
    import pandas as pd

IMAGE_SIZE = 224
BATCH_SIZE = 32
PHASES = (Phase("head", 3, 1e-3), Phase("fine-tune", 60, 1e-4))


def main(argv: list[str] | None = None) -> int:
    """Run the training; returns the exit code."""
    return run_benchmark(
        "usual_recipe", __doc__, train, argv, seed=(0, "seed of split and order", 0)
    )


def train(options: argparse.Namespace) -> None:
    """Train until stopped; prints a line for each epoch."""
    from training.dataset import read_labeled_images

    given = {"data_dir": options.data_dir, "split_seed": options.seed}
    frame = read_labeled_images(build_train_config(given)).frame

    from models.backend import start_tensorflow

    start_tensorflow()

    import keras

    from data.ham10000 import CLASS_NAMES
    from training.callbacks import EpochLog
    from training.losses import BalancedAccuracy

    keras.utils.set_random_seed(options.seed)
    train_batches, validation_batches = make_batches(frame, options.seed)
    backbone, model = build()
    log = EpochLog(PHASES, len(train_batches))
    done = 0
    for phase in PHASES:
        for layer in backbone.layers:
            is_norm = isinstance(layer, keras.layers.BatchNormalization)
            layer.trainable = phase.name != "head" and not is_norm
        model.compile(
            optimizer=keras.optimizers.Adam(phase.learning_rate),
            loss="categorical_crossentropy",
            metrics=["accuracy", BalancedAccuracy(len(CLASS_NAMES))],
        )
        model.fit(
            train_batches,
            validation_data=validation_batches,
            initial_epoch=done,
            epochs=done + phase.epochs,
            callbacks=[log],
            verbose=0,
        )
        done += phase.epochs


def make_batches(frame: pd.DataFrame, seed: int) -> list:
    """Return the batches of the train and the validation split.

    Args:
        frame: with `path`, `label` and `split`.
        seed: of order and augmentation.
    """
    import keras
    import tensorflow as tf

    from data.ham10000 import CLASS_NAMES

    generator = tf.keras.preprocessing.image.ImageDataGenerator
    scale = keras.applications.mobilenet_v2.preprocess_input
    augmented = generator(
        preprocessing_function=scale,
        rotation_range=180,
        zoom_range=0.15,
        width_shift_range=0.1,
        height_shift_range=0.1,
        horizontal_flip=True,
        vertical_flip=True,
        fill_mode="reflect",
    )
    plain = generator(preprocessing_function=scale)
    return [
        source.flow_from_dataframe(
            frame[frame["split"] == name],
            x_col="path",
            y_col="label",
            classes=list(CLASS_NAMES),
            target_size=(IMAGE_SIZE, IMAGE_SIZE),
            batch_size=BATCH_SIZE,
            shuffle=name == "train",
            seed=seed,
        )
        for name, source in (("train", augmented), ("val", plain))
    ]


def build() -> tuple[keras.Model, keras.Model]:
    """Return the backbone and the model."""
    import keras

    from data.ham10000 import CLASS_NAMES
    from models.weights import fetch_weights

    weights = fetch_weights(*BACKBONES["mobilenet"].find_weights(IMAGE_SIZE))
    backbone = keras.applications.MobileNetV2(
        input_shape=(IMAGE_SIZE, IMAGE_SIZE, 3), include_top=False, weights=str(weights)
    )
    inputs = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3))
    x = keras.layers.GlobalAveragePooling2D()(backbone(inputs))
    x = keras.layers.Dropout(0.2)(x)
    outputs = keras.layers.Dense(len(CLASS_NAMES), activation="softmax")(x)
    return backbone, keras.Model(inputs, outputs)


if __name__ == "__main__":
    sys.exit(main())
