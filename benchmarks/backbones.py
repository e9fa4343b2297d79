"""What each model costs, and what it learns from the same modest schedule.

Speed is measured at each model's own size of picture, with the layers learning that learn by
default. Then each learns from the same images, at one small size for all: all its layers, or, with
ImageNet weights, the head for an epoch and then its own last layers. Where no weights are to be
had, the table says so, and the figures are no measure of the model.
"""

import argparse
import dataclasses
import tempfile
from pathlib import Path

import keras
import numpy as np
import pandas as pd

import config
from benchmarks.machine import (
    alternate,
    parse_arguments,
    seconds,
    training_augmentation,
    with_model_defaults,
)
from config import TrainConfig
from data.ham10000 import CLASS_NAMES, class_weights, read_metadata, split_by_lesion
from data.pipeline import count_steps, decode_images, make_dataset
from models import MODEL_NAMES, WeightsUnavailableError, build_model, model_defaults
from models.bundle import save_model
from models.training import AdjustedCrossentropy, BalancedAccuracy, Phase, train_model
from models.transfer import unfreeze


def settings_of(name: str, weights: str) -> TrainConfig:
    """Return the settings that `train.py` would have for a model."""
    # sequential has a preset of its own, which says none already.
    typed = {"model": name} | (
        {"weights": "none"} if weights == "none" and name != "sequential" else {}
    )
    args = argparse.Namespace(**typed)
    return with_model_defaults(config.from_args(TrainConfig, args, config.train_presets(args)))


def build(settings: TrainConfig, image_size: int, weights: str) -> keras.Model:
    """Build a model by its settings."""
    return build_model(
        settings.model,
        image_size=image_size,
        class_names=CLASS_NAMES,
        weights=weights,
        dropout=settings.dropout,
        batch_norm_momentum=settings.batch_norm_momentum,
    )


def find_weights(name: str) -> tuple[str, str]:
    """Return where a model can start from, and a word for the table."""
    if name == "sequential":
        return "none", "from scratch by design"
    try:
        build_model(name, image_size=96, class_names=CLASS_NAMES, weights="imagenet")
        return "imagenet", "ImageNet"
    except WeightsUnavailableError:
        return "none", "random initialisation"


def measure_speed(settings: TrainConfig, *, batch_size: int, rounds: int) -> dict[str, float]:
    """Return parameters, MB on disk, training images a second and ms for one image."""
    side = settings.image_size
    model = build(settings, side, "none")
    if settings.model != "sequential":
        layers = model_defaults(settings.model)["fine_tune_layers"]
        unfreeze(model, layers, batch_norm_trains=settings.batch_norm_trains)
    model.compile(
        optimizer=keras.optimizers.Adam(1e-4, weight_decay=settings.weight_decay, use_ema=True),
        loss=AdjustedCrossentropy(np.zeros(len(CLASS_NAMES)), settings.label_smoothing),
        metrics=["accuracy", BalancedAccuracy(len(CLASS_NAMES))],
    )
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch_size, side, side, 3)).astype(np.float32)
    targets = np.eye(len(CLASS_NAMES), dtype=np.float32)[rng.integers(0, 7, batch_size)]

    def train() -> float:
        return seconds(lambda: model.train_on_batch(images, targets))

    def infer() -> float:
        return seconds(lambda: model.predict_on_batch(images[:1]))

    train(), infer()
    took = alternate(rounds, train=train, infer=infer)
    with tempfile.TemporaryDirectory() as scratch:
        save_model(model, Path(scratch, "model.keras"))
        size = Path(scratch, "model.keras").stat().st_size
    return {
        "parameters": model.count_params(),
        "disk": size / 1e6,
        "training": batch_size / took["train"],
        "inference": 1000 * took["infer"],
    }


def learn(
    settings: TrainConfig, frame: pd.DataFrame, *, image_size: int, epochs: int, weights: str
) -> dict:
    """Train by the modest schedule; returns the row of the best epoch."""
    keras.utils.set_random_seed(settings.seed)
    model = build(settings, image_size, weights)
    rows = {split: frame[frame["split"] == split] for split in ("train", "val")}
    images, targets = {}, {}
    for split, table in rows.items():
        factor = settings.stored_size_factor if split == "train" else 1.0
        images[split], _ = decode_images(
            table["path"].tolist(), image_size=round(image_size * factor)
        )
        places = table["label"].map(CLASS_NAMES.index).to_numpy()
        targets[split] = np.eye(len(CLASS_NAMES), dtype=np.float32)[places]
    labels = rows["train"]["label"]
    weight_of = class_weights(labels, settings.class_weights)
    steps = count_steps(len(labels), settings.batch_size)
    if settings.model == "sequential":
        phases = [Phase("train", epochs, settings.learning_rate)]
    else:
        head = 1 if weights == "imagenet" else 0
        layers = settings.fine_tune_layers
        phases = [
            Phase("head", head, settings.head_learning_rate, 0),
            Phase("fine-tune", epochs - head, settings.learning_rate, layers),
        ]
    with tempfile.TemporaryDirectory() as scratch:
        result = train_model(
            model,
            lambda side, first: make_dataset(
                images["train"],
                targets["train"],
                weights=labels.map(weight_of).to_numpy(np.float32),
                batch_size=settings.batch_size,
                augmentation=training_augmentation(dataclasses.replace(settings, image_size=side)),
                seed=settings.seed,
                first_epoch=first,
            ),
            lambda side: make_dataset(
                images["val"], targets["val"], batch_size=settings.batch_size
            ),
            phases=phases,
            steps_per_epoch=steps,
            run_dir=scratch,
            batch_norm_trains=settings.batch_norm_trains,
            weight_decay=settings.weight_decay,
            label_smoothing=settings.label_smoothing,
            monitor="loss",
            patience=epochs,
            seed=settings.seed,
        )
    return result.best


def main() -> None:
    """Measure the models in turn, and print a row for each."""
    args = parse_arguments(
        __doc__,
        models=(",".join(MODEL_NAMES), "which, separated by commas"),
        image_size=(96, "side of the pictures of the schedule, pixels"),
        images=(1500, "to learn from"),
        validation_images=(600, "to measure by"),
        epochs=(3, "of the schedule"),
        batch_size=(16, "images in a batch when speed is measured"),
        rounds=(3, "of the measurement of speed"),
    )
    frame = read_metadata(args.data_dir).dropna(subset="path")
    frame["split"] = split_by_lesion(frame, seed=0, validation_share=0.15, test_share=0.15)
    counts = {"train": args.images, "val": args.validation_images}
    frame = pd.concat(
        part.sample(min(len(part), counts[split]), random_state=0)
        for split, part in frame.groupby("split")
        if split in counts
    )
    rows, speeds = [], []
    for name in args.models.split(","):
        weights, start = find_weights(name)
        settings = settings_of(name, weights)
        speed = measure_speed(settings, batch_size=args.batch_size, rounds=args.rounds)
        best = learn(
            settings, frame, image_size=args.image_size, epochs=args.epochs, weights=weights
        )
        speeds.append(speed["training"])
        rows.append(
            f"| {name} | {speed['parameters']:,} | {speed['disk']:.1f} | {settings.image_size} | "
            f"{speed['training']:.1f} | {speed['inference']:.0f} | {best['val_accuracy']:.3f} | "
            f"{best['val_balanced_accuracy']:.3f} | {start} |"
        )
        print(rows[-1], flush=True)
    print(
        f"\n{args.epochs} epochs on {(frame['split'] == 'train').sum()} images at "
        f"{args.image_size} px, {(frame['split'] == 'val').sum()} to measure by\n\n"
        "| model | parameters | MB on disk | own px | training img/s | inference ms | "
        "accuracy | balanced accuracy | start |\n|---|---|---|---|---|---|---|---|---|"
    )
    print(*rows, sep="\n")
    print(f"ratio: {max(speeds) / min(speeds):.2f}")


if __name__ == "__main__":
    main()
