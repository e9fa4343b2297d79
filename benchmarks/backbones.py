"""What each model costs, and which accuracy it reaches with the same short schedule.

Speed is measured at each model's own image size, with the layers that are fine-tuned by default.
Then each model is trained on the same images at one small size: from random weights all its layers,
from ImageNet weights the head for an epoch and then the layers that are fine-tuned by default.
Without ImageNet weights, which the table says, the accuracy is no measure of the model.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.machine import alternate, decode, read_images, run_benchmark, seconds
from config import TrainConfig
from data import DataError
from models import WeightsUnavailableError
from models.applications import check_model_name, find_backbone
from models.backbones import MODEL_NAMES
from support.cli import naming_flag
from training.phases import Phase
from training.run import Run
from training.settings import build_train_config

if TYPE_CHECKING:
    import pandas as pd

HEADER = (
    "| model | parameters | MB on disk | own px | training img/s | inference ms | accuracy | "
    "balanced accuracy | initial weights |\n|---|---|---|---|---|---|---|---|---|"
)


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; returns its exit code."""
    return run_benchmark(
        "backbones",
        __doc__,
        measure,
        argv,
        models=(",".join(MODEL_NAMES), "models, separated by commas"),
        image_size=(96, "side length of the images of the schedule, pixels", 32),
        images=(1500, "number of training images"),
        validation_images=(600, "number of validation images"),
        epochs=(3, "epochs of the schedule"),
        batch_size=(16, "images per step when the speed is measured"),
        rounds=(3, "measurements of the speed"),
    )


def measure(options: argparse.Namespace) -> None:
    """Measure the models in turn, and print a row for each."""
    names = options.models.split(",")
    with naming_flag("--models"):
        for name in names:
            check_model_name(name)
    frame = sample_splits(
        read_images(options.data_dir),
        {"train": options.images, "val": options.validation_images},
    )

    from models.backend import start_tensorflow

    start_tensorflow()

    rows, speeds = [], []
    for name in names:
        weights, shown_weights = find_weights(name)
        settings = build_settings(name, weights)
        costs = measure_costs(settings, batch_size=options.batch_size, rounds=options.rounds)
        # After the costs: those are for the model's own image size.
        small = dataclasses.replace(settings, image_size=options.image_size)
        best = fit(small, frame, epochs=options.epochs)
        speeds.append(costs["training"])
        rows.append(
            f"| {name} | {costs['parameters']:,} | {costs['disk']:.1f} | {settings.image_size} | "
            f"{costs['training']:.1f} | {costs['inference']:.0f} | {best['val_accuracy']:.3f} | "
            f"{best['val_balanced_accuracy']:.3f} | {shown_weights} |"
        )
        print(rows[-1], flush=True)
    counts = frame["split"].value_counts()
    print(
        f"\n{options.epochs} epochs on {counts['train']} images at {options.image_size} px, "
        f"validated on {counts['val']}\n\n{HEADER}"
    )
    print(*rows, sep="\n")
    print(f"ratio: {max(speeds) / min(speeds):.2f}")


def sample_splits(frame: pd.DataFrame, counts: dict[str, int]) -> pd.DataFrame:
    """Split by lesion and draw up to so many images of each split.

    Raises:
        DataError: a split has no images.
    """
    import pandas as pd

    from data.splits import split_by_lesion

    split = split_by_lesion(frame, seed=0, validation_fraction=0.15, test_fraction=0.15)
    if not set(counts) <= set(split):
        raise DataError(
            f"--data_dir: expected lesions enough for each split, received {len(frame)} images"
        )
    return pd.concat(
        part.sample(min(len(part), counts[name]), random_state=0)
        for name, part in frame.assign(split=split).groupby("split")
        if name in counts
    )


def find_weights(name: str) -> tuple[str, str]:
    """Return the initial weights that a model can have, and how the table calls them."""
    from data.ham10000 import CLASS_NAMES
    from models.factory import build_model

    if name == "sequential":
        return "none", "random by design"
    try:
        build_model(name, image_size=96, class_names=CLASS_NAMES, weights="imagenet")
        return "imagenet", "ImageNet"
    except WeightsUnavailableError:
        return "none", "random"


def build_settings(name: str, weights: str) -> TrainConfig:
    """Return the settings that `train.py` has for a model."""
    return build_train_config({"model": name, "weights": weights})


def measure_costs(settings: TrainConfig, *, batch_size: int, rounds: int) -> dict[str, float]:
    """Return parameters, MB on disk, training images per second, and ms for one image."""
    import numpy as np

    from benchmarks.fitting import compile_model
    from data.ham10000 import CLASS_NAMES
    from models.bundle import save_model

    backbone = find_backbone(settings.model)
    model = compile_model(settings, backbone.fine_tune_layers if backbone else None)
    rng = np.random.default_rng(0)
    shape = (batch_size, settings.image_size, settings.image_size, 3)
    images = rng.integers(0, 256, shape).astype(np.float32)
    targets = np.eye(len(CLASS_NAMES), dtype=np.float32)[rng.integers(0, 7, batch_size)]

    def train() -> float:
        return seconds(lambda: model.train_on_batch(images, targets))

    def infer() -> float:
        return seconds(lambda: model.predict_on_batch(images[:1]))

    train(), infer()
    durations = alternate(rounds, train=train, infer=infer)
    with tempfile.TemporaryDirectory() as folder:
        path = Run(folder).model
        save_model(model, path)
        size = path.stat().st_size
    return {
        "parameters": model.count_params(),
        "disk": size / 1e6,
        "training": batch_size / durations["train"],
        "inference": 1000 * durations["infer"],
    }


def fit(settings: TrainConfig, frame: pd.DataFrame, *, epochs: int) -> dict:
    """Train with the short schedule; returns the metrics of the best epoch.

    Args:
        settings: of the model, with the image size of the schedule.
        frame: rows of the images, with their split.
        epochs: length of the schedule.
    """
    import keras
    import numpy as np

    from data.ham10000 import CLASS_NAMES
    from data.targets import class_weights, one_hot
    from models.factory import build_model
    from training.early_stopping import EarlyStopping
    from training.loop import TrainingData, train_model
    from training.losses import LogitAdjustedCrossentropy
    from training.recipe import augmentation_settings
    from training.schedules import OptimizerSettings

    keras.utils.set_random_seed(settings.seed)
    model = build_model(
        settings.model,
        image_size=settings.image_size,
        class_names=CLASS_NAMES,
        weights=None if settings.weights == "none" else settings.weights,
        dropout=settings.dropout,
        batch_norm_momentum=settings.batch_norm_momentum,
    )
    train, validation = (frame[frame["split"] == split] for split in ("train", "val"))
    weights = class_weights(train["label"], settings.class_weights, CLASS_NAMES)
    size = settings.image_size
    data = TrainingData(
        train_images={size: decode(train["path"].tolist(), settings.stored_size(size))},
        train_targets=one_hot(train["label"], CLASS_NAMES),
        train_weights=train["label"].map(weights).to_numpy(np.float32),
        validation_images={size: decode(validation["path"].tolist(), size)},
        validation_targets=one_hot(validation["label"], CLASS_NAMES),
        batch_size=settings.batch_size,
        seed=settings.seed,
    )
    with tempfile.TemporaryDirectory() as folder:
        result = train_model(
            model,
            data,
            phases=plan(settings, epochs),
            loss=LogitAdjustedCrossentropy(np.zeros(len(CLASS_NAMES)), settings.label_smoothing),
            augmentation=augmentation_settings(settings),
            optimizer=OptimizerSettings(weight_decay=settings.weight_decay),
            early_stopping=EarlyStopping("loss", patience=epochs),
            run=Run(Path(folder)),
        )
    return result.best


def plan(settings: TrainConfig, epochs: int) -> list[Phase]:
    """Return the phases of the short schedule."""
    if settings.model == "sequential":
        return [Phase("train", epochs, settings.learning_rate)]
    # Without ImageNet weights there is nothing to keep frozen.
    head = 0 if settings.weights == "none" else 1
    return [
        Phase("head", head, settings.head_learning_rate, 0),
        Phase(
            "fine-tune",
            epochs - head,
            settings.learning_rate,
            settings.fine_tune_layers,
            train_batch_norm=settings.train_batch_norm,
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
