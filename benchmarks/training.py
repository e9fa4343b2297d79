"""How much of the speed of a bare training step `Model.fit` keeps with the real pipeline.

The bare step is the same compiled function on one batch that already lies in memory. Images are
gathered, augmented and batched on the processor that also trains, where there is no other.
"""

import time

import keras
import numpy as np
import tensorflow as tf

from benchmarks.machine import (
    alternate,
    parse_arguments,
    seconds,
    training_augmentation,
    with_model_defaults,
)
from config import TrainConfig
from data.ham10000 import CLASS_NAMES, read_metadata
from data.pipeline import decode_images, make_dataset
from models import build_model
from models.backend import start_tensorflow
from models.training import AdjustedCrossentropy, BalancedAccuracy
from models.transfer import unfreeze

SETTINGS = with_model_defaults(TrainConfig())


class EpochSeconds(keras.callbacks.Callback):
    """Takes the time of each epoch."""

    def on_train_begin(self, logs: dict | None = None) -> None:
        self.taken: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.taken.append(time.perf_counter() - self.started)


def compile_model(layers: int) -> keras.Model:
    """Build and compile the default model as training does, with some of its layers learning."""
    model = build_model(
        "mobilenet",
        image_size=SETTINGS.image_size,
        class_names=CLASS_NAMES,
        weights="none",  # no other speed than trained ones
        batch_norm_momentum=SETTINGS.batch_norm_momentum,
    )
    unfreeze(model, layers, batch_norm_trains=SETTINGS.batch_norm_trains)
    model.compile(
        optimizer=keras.optimizers.Adam(weight_decay=SETTINGS.weight_decay, use_ema=layers > 0),
        loss=AdjustedCrossentropy(np.zeros(len(CLASS_NAMES)), SETTINGS.label_smoothing),
        metrics=["accuracy", BalancedAccuracy(len(CLASS_NAMES))],
    )
    return model


def main() -> None:
    """Measure with a frozen and with a learning backbone."""
    args = parse_arguments(
        __doc__,
        images=(2000, "how many are used"),
        steps=(30, "of a measurement"),
        rounds=(5, "of each way"),
    )
    start_tensorflow(repeatable=True)  # as train.py does
    frame = read_metadata(args.data_dir).dropna(subset="path").head(args.images)
    side = round(SETTINGS.image_size * SETTINGS.stored_size_factor)
    images, _ = decode_images(frame["path"].tolist(), image_size=side)
    targets = np.eye(len(CLASS_NAMES), dtype=np.float32)[
        frame["label"].map(CLASS_NAMES.index).to_numpy()
    ]
    dataset = make_dataset(
        images,
        targets,
        weights=np.ones(len(images), np.float32),
        batch_size=SETTINGS.batch_size,
        augmentation=training_augmentation(SETTINGS),
    )
    batch = next(iter(dataset))
    print(f"{SETTINGS.image_size} px, batches of {len(batch[0])}, images per second\n")
    print(f"{'layers that learn':<24}{'fit':>8}{'bare step':>12}{'ratio':>8}")
    ratios = []
    for layers, name in ((0, "head"), (SETTINGS.fine_tune_layers, "head and {} layers")):
        model = compile_model(layers)
        ready = iter(tf.data.Dataset.from_tensors(batch).repeat())
        model.make_train_function()
        step = model.train_function

        def bare(step=step, ready=ready) -> None:
            for _ in range(args.steps):
                step(ready)

        def fit(model=model) -> float:
            # The first epoch fills the pipeline, which a training does once.
            clock = EpochSeconds()
            model.fit(
                dataset,
                epochs=2,
                steps_per_epoch=args.steps,
                callbacks=[clock],
                shuffle=False,
                verbose=0,
            )
            return clock.taken[-1]

        bare()
        took = alternate(args.rounds, fit=fit, bare=lambda bare=bare: seconds(bare))
        rates = {way: args.steps * len(batch[0]) / value for way, value in took.items()}
        ratios.append(rates["fit"] / rates["bare"])
        print(
            f"{name.format(layers):<24}{rates['fit']:>8.0f}{rates['bare']:>12.0f}{ratios[-1]:>8.2f}",
            flush=True,
        )
    print(f"ratio: {min(ratios):.2f}")


if __name__ == "__main__":
    main()
