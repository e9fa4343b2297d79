"""Train a skin-lesion classifier: python train.py --model mobilenet"""

import argparse
import contextlib
import dataclasses
import json
import os
import shlex
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import config
from config import TrainConfig
from data import DataError
from models import (
    MODEL_NAMES,
    DivergedError,
    ModelError,
    WeightsUnavailableError,
    is_out_of_memory,
)

# What a training started from, kept until it is finished.
FACTS_FILE = "resume.json"
OUT_OF_MEMORY = "out of memory: lower --batch_size (fewer images per step) or --image_size"

if TYPE_CHECKING:
    import keras
    import numpy as np
    import pandas as pd

    from models.training import Phase, Result


def main(argv: list[str] | None = None) -> int:
    """Run the script; returns its exit code."""
    parser = config.ArgumentParser(prog="train.py", description=__doc__)
    config.add_arguments(parser, TrainConfig, choices={"model": MODEL_NAMES})
    args = parser.parse_args(argv)
    try:
        if "resume" in args:
            settings = config.load_stopped(args)
        else:
            settings = config.from_args(TrainConfig, args, config.train_presets(args))
    except ValueError as error:
        parser.error(str(error))
    warnings.showwarning = config.show_warning
    try:
        return train(settings, args)
    except (DataError, ModelError, OSError) as error:
        print(f"train.py: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print("\ntrain.py: " + "; ".join(["stopped", *stop.args]), file=sys.stderr)
        return 130
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        print(f"train.py: error: {OUT_OF_MEMORY}", file=sys.stderr)
        return 2


def train(settings: TrainConfig, args: argparse.Namespace) -> int:
    """Read, build, decode, fit, report."""
    if settings.resume:
        started = read_facts(Path(settings.resume))
        check_unchanged("settings", started, collect_settings(settings), settings.resume)
    frame, missing = read_images(settings)
    check_output(Path(settings.output_dir))
    model, settings, device = build(settings, args)
    images, unreadable = decode(frame, settings)
    frame = frame.drop(index=unreadable)
    learned = collect_images(frame, images, settings)
    if settings.resume:
        run_dir = Path(settings.resume)
        check_unchanged("images", started, learned, settings.resume)
    else:
        facts = {"settings": collect_settings(settings), "images": learned}
        run_dir = start_run(frame, settings, facts)
    print(
        f"{len(frame)} images of {frame['lesion_id'].nunique()} lesions: "
        f"{(frame['split'] == 'train').sum()} to learn from, {(frame['split'] == 'val').sum()} to "
        f"choose by, {(frame['split'] == 'test').sum()} kept for evaluate.py\n{settings.model}, "
        f"{model.count_params():,} parameters, {settings.image_size} px, on {device}",
        flush=True,
    )
    started = time.monotonic()
    with explained(run_dir):
        result = fit(model, frame, images, settings, run_dir)
        temperature = calibrate(frame, images, settings, run_dir)
        fit_warnings(frame, images, settings, run_dir)
        seconds = time.monotonic() - started
        report(result, frame, settings, run_dir, temperature=temperature, seconds=seconds)
        finish_run(run_dir)
    return 1 if missing or unreadable else 0


def check_output(folder: Path) -> None:
    """Find out now, and not after an epoch, whether a run can be written.

    Raises:
        DataError: it cannot.
    """
    if reason := config.make_folder(folder):
        raise DataError(
            f"--output_dir should be a folder that can be written, received {folder} ({reason}); "
            "name another"
        )


@contextlib.contextmanager
def explained(run_dir: Path) -> Iterator[None]:
    """Add to what stops a training what is left of it, and how it goes on."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(what_is_left(run_dir)) from None
    except DivergedError as error:
        raise ModelError(f"{error}; {what_is_left(run_dir, resumes=False)}") from error
    except OSError as error:
        raise ModelError(f"{error}; {what_is_left(run_dir)}") from error
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise ModelError(f"{OUT_OF_MEMORY}; {what_is_left(run_dir, resumes=False)}") from error


def what_is_left(run_dir: Path, *, resumes: bool = True) -> str:
    """Say what a training that was stopped leaves, and how it goes on."""
    kept = run_dir / "model.keras"
    best = f"the best epoch so far is {kept}" if kept.exists() else "no epoch was finished"
    if not resumes:
        return best
    return f"{best}; to go on: python train.py --resume {shlex.quote(str(run_dir))}"


def read_images(settings: TrainConfig) -> "tuple[pd.DataFrame, int]":
    """Read and split the data; returns the rows with an image, and the number without."""
    from data.ham10000 import SPLIT_NAMES, split_by_lesion
    from data.sample import write_sample_dataset

    if settings.sample and not Path(settings.data_dir).exists():
        print(f"making up sample pictures in {settings.data_dir}", flush=True)
        write_sample_dataset(settings.data_dir, images_per_class=settings.sample_images_per_class)
    frame, missing = read_folder(settings.data_dir, settings)
    frame["split"] = split_by_lesion(
        frame,
        seed=settings.seed,
        validation_share=settings.validation_share,
        test_share=settings.test_share,
    )
    lesions = frame.groupby("label")["lesion_id"].nunique()
    if len(lesions) < 2:
        raise DataError(
            f"{settings.data_dir} has images of {lesions.index[0]} only; training needs at least "
            "two diagnoses to tell apart"
        )
    for label in lesions.index[lesions < len(SPLIT_NAMES)]:
        print(
            f"warning: {label} has {lesions[label]} lesions, too few for all of "
            f"{', '.join(SPLIT_NAMES)}; its figures will be missing or mean nothing",
            file=sys.stderr,
        )
    if not {"train", "val"} <= set(frame["split"]):
        raise DataError(
            f"{settings.data_dir} has too few lesions to train and to validate "
            f"({frame['lesion_id'].nunique()}); give it at least three of each diagnosis"
        )
    for folder in settings.extra_data_dir:
        extra, without = read_folder(folder, settings)
        frame = add_extra(frame, extra)
        missing += without
    return frame, missing


def read_folder(data_dir: str, settings: TrainConfig) -> "tuple[pd.DataFrame, int]":
    """Read a data set and say what it is; returns the rows with an image, and the number without.

    Raises:
        DataError: it cannot be used, or too many images are missing.
    """
    from data.sources import drop_missing, read_dataset

    dataset = read_dataset(data_dir)
    print(f"{data_dir}: {dataset.layout}", *dataset.notes, sep="\n  ", flush=True)
    frame, line = drop_missing(dataset.frame, data_dir)
    missing = len(dataset.frame) - len(frame)
    if missing > settings.missing_image_limit * len(dataset.frame) and not settings.allow_missing:
        raise DataError(
            f"{line.removeprefix('left out: ')}; unpack all image archives there, or train without "
            "them by --allow_missing"
        )
    if line:
        print(line, file=sys.stderr)
    return frame, missing


def add_extra(frame: "pd.DataFrame", extra: "pd.DataFrame") -> "pd.DataFrame":
    """Add images to those to learn from, and say how many were kept out."""
    from data.extra import add_training_data

    frame, counts = add_training_data(frame, extra)
    print(
        f"  {counts.added:,} of {len(extra):,} images are added to those to learn from\n"
        f"  kept out, since they are in validation or test: {counts.by_id:,} by id or lesion, "
        f"{counts.by_pixels:,} by their pixels, {counts.by_lesion:,} that show the same lesions\n"
        f"  left out, since they are learned from already: {counts.repeated:,}",
        flush=True,
    )
    return frame


def build(
    settings: TrainConfig, args: argparse.Namespace
) -> "tuple[keras.Model, TrainConfig, str]":
    """Build the model; returns it, the settings it really has, and the device it runs on."""
    from models.backend import check_mixed_precision, choose_strategy, start_tensorflow

    start_tensorflow(repeatable=True)

    import keras

    from data.ham10000 import CLASS_NAMES
    from models import build_model

    if settings.mixed_precision:
        check_mixed_precision()
    strategy, device = choose_strategy(settings.strategy, batch_size=settings.batch_size)
    keras.utils.set_random_seed(settings.seed)

    def build_as(settings: TrainConfig) -> tuple[keras.Model, TrainConfig, str]:
        settings = fill_in(settings)
        with strategy.scope():
            model = build_model(
                settings.model,
                image_size=settings.image_size,
                class_names=CLASS_NAMES,
                weights=settings.weights,
                dropout=settings.dropout,
                batch_norm_momentum=settings.batch_norm_momentum,
                mixed_precision=settings.mixed_precision,
            )
        return model, settings, device

    try:
        return build_as(settings)
    except WeightsUnavailableError:
        # Only a first try on made-up pictures may start from something else than was asked for.
        if not settings.sample or "weights" in args:
            raise
    args.weights = "none"
    settings = config.from_args(TrainConfig, args, config.train_presets(args))
    print("no ImageNet weights here: this sample run starts from random weights, all layers learn")
    return build_as(settings)


def fill_in(settings: TrainConfig) -> TrainConfig:
    """Return the settings with the model's own where none was asked for; loads TensorFlow."""
    from models import model_defaults

    return config.fill_in(settings, model_defaults(settings.model))


def decode(
    frame: "pd.DataFrame", settings: TrainConfig
) -> "tuple[dict[tuple[str, int], np.ndarray], list[int]]":
    """Decode what training and validation need; returns the images by split and size of the model's
    input, and the failures.

    All headers come first, those of the test images too, so that what is no image is known in
    seconds. Validation pictures are decoded as `evaluate.py` will; training pictures a little
    larger.

    Raises:
        DataError: nothing is left to learn from, or to choose by.
    """
    from data.pipeline import check_images, decode_images

    unreadable = []
    for place, message in check_images(frame["path"].tolist()).items():
        print(f"left out: {message}", file=sys.stderr)
        unreadable.append(frame.index[place])
    good = frame.drop(index=unreadable)
    images: dict[tuple[str, int], np.ndarray] = {}
    for side in sorted({phase.image_size for phase in plan(settings)}):
        for split, size in (("train", round(side * settings.stored_size_factor)), ("val", side)):
            rows = good.index[good["split"] == split]
            images[split, side], failures = decode_images(
                good.loc[rows, "path"].tolist(),
                image_size=size,
                store=settings.image_store,
                store_dir=Path(settings.output_dir, "cache"),
                on_progress=lambda done, total: config.show_count("decoding", done, total),
            )
            file = getattr(images[split, side], "filename", None)
            if file and not failures:
                print(f"decoded {split} pictures are in {file}, not in memory; later runs use them")
            for message in failures.values():
                print(f"left out: {message}", file=sys.stderr)
            broken = [rows[place] for place in failures]
            unreadable += broken
            good = good.drop(index=broken)
            if not len(images[split, side]):
                raise DataError(
                    f"none of the images of the split {split!r} in {settings.data_dir} can be "
                    "read; unpack the image archives anew"
                )
    # A file that could be read at the first size only would shift all after it.
    if any(len(images[split, side]) != (good["split"] == split).sum() for split, side in images):
        raise DataError(
            f"images in {settings.data_dir} changed while they were read; start the training again"
        )
    return images, unreadable


def collect_settings(settings: TrainConfig) -> dict:
    """Return the settings that have to be the same for a stopped training to go on, as JSON."""
    return json.loads(json.dumps({**dataclasses.asdict(settings), "resume": None}))


def collect_images(
    frame: "pd.DataFrame", images: "dict[tuple[str, int], np.ndarray]", settings: TrainConfig
) -> dict:
    """Return what of the images has to be the same, in their order, as JSON values."""
    from data.pipeline import checksums

    learned = {}
    for split in ("train", "val"):
        rows = frame[frame["split"] == split]
        numbers = checksums(images[split, plan(settings)[-1].image_size])
        names = ("image_id", "label", "lesion_id")
        for image_id, *facts, number in zip(*(rows[name] for name in names), numbers, strict=True):
            learned[image_id] = [split, *facts, number]
    return learned


def read_facts(run_dir: Path) -> dict:
    """Return what a stopped training started from: its settings and images.

    Raises:
        DataError: the run is finished, or the file is damaged.
    """
    path = run_dir / FACTS_FILE
    if not path.is_file():
        raise DataError(f"{run_dir} holds no training that was stopped; nothing to resume")
    try:
        started = json.loads(path.read_text(encoding="utf-8"))
        return {kind: dict(started[kind]) for kind in ("settings", "images")}
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"{path} should hold what the training started from, but is damaged; start a new "
            "training"
        ) from error


def check_unchanged(kind: str, started: dict, now: dict, run_dir: str) -> None:
    """Compare the settings or images of a stopped training with those of now.

    Raises:
        DataError: they differ.
    """
    before = started[kind]
    remedy = {"settings": "put them back into config.json", "images": "put them back"}[kind]
    names = sorted(before.keys() | now.keys())
    differ = [name for name in names if before.get(name) != now.get(name)]
    if differ:
        name = differ[0]
        raise DataError(
            f"{len(differ)} {kind} are not what {run_dir} started with, such as {name}: "
            f"{before.get(name)} then, {now.get(name)} now; {remedy}, or start a new training"
        )
    # What is learned in a step depends on the places in the table.
    if kind == "images" and list(before) != list(now):
        raise DataError(
            f"the images are in another order than {run_dir} started with; {remedy}, or start a "
            "new training"
        )


def start_run(frame: "pd.DataFrame", settings: TrainConfig, facts: dict) -> Path:
    """Make the run directory, with a name not yet taken, and write what is known at the start."""
    from data.ham10000 import write_split

    stamp = time.strftime("%Y%m%d-%H%M%S")
    number = 1
    while True:
        suffix = "" if number == 1 else f"-{number}"
        run_dir = Path(settings.output_dir, f"{settings.model}-{stamp}{suffix}")
        try:
            run_dir.mkdir(parents=True)
            break
        except FileExistsError:
            number += 1
    config.save(settings, run_dir / "config.json")
    write_split(frame, run_dir / "split.csv")
    part = run_dir / f"{FACTS_FILE}.part"
    part.write_text(json.dumps(facts), encoding="utf-8")
    os.replace(part, run_dir / FACTS_FILE)
    return run_dir


def finish_run(run_dir: Path) -> None:
    """Remove what only a stopped training needs."""
    from models.checkpoint import STATE_FILE

    for name in (STATE_FILE, FACTS_FILE):
        (run_dir / name).unlink(missing_ok=True)


def fit(
    model: "keras.Model",
    frame: "pd.DataFrame",
    images: "dict[tuple[str, int], np.ndarray]",
    settings: TrainConfig,
    run_dir: Path,
) -> "Result":
    """Train the model on the decoded images; returns what `train_model` returns."""
    import numpy as np

    from data.augmentation import build_augmentation
    from data.ham10000 import CLASS_NAMES, class_shares, class_weights
    from data.pipeline import count_steps, even_batch_size, make_dataset
    from models.bundle import set_split
    from models.training import train_model

    learned, chosen_by = frame[frame["split"] == "train"], frame[frame["split"] == "val"]
    set_split(
        model,
        train_image_ids=learned["image_id"].tolist(),
        train_lesion_ids=learned["lesion_id"].tolist(),
        validation_image_ids=chosen_by["image_id"].tolist(),
        validation_lesion_ids=chosen_by["lesion_id"].tolist(),
    )
    one_hot = dict(zip(CLASS_NAMES, np.eye(len(CLASS_NAMES), dtype=np.float32), strict=True))
    weight_of = class_weights(learned["label"], settings.class_weights)
    log_shares = np.log(class_shares(learned["label"]))

    def make_training_data(side: int, first_epoch: int):
        return make_dataset(
            images["train", side],
            np.stack(learned["label"].map(one_hot)),
            weights=learned["label"].map(weight_of).to_numpy(np.float32),
            batch_size=settings.batch_size,
            augmentation=build_augmentation(
                image_size=side, **config.augmentation_options(settings)
            ),
            seed=settings.seed,
            first_epoch=first_epoch,
        )

    def make_validation_data(side: int):
        targets = np.stack(chosen_by["label"].map(one_hot))
        size = even_batch_size(
            len(targets),
            batch_size=settings.batch_size,
            devices=model.distribute_strategy.num_replicas_in_sync,
        )
        return make_dataset(images["val", side], targets, batch_size=size)

    steps = count_steps(len(learned), settings.batch_size)
    return train_model(
        model,
        make_training_data,
        make_validation_data,
        phases=plan(settings),
        steps_per_epoch=steps,
        run_dir=run_dir,
        batch_norm_trains=settings.batch_norm_trains,
        lr_schedule=settings.lr_schedule,
        warmup_share=settings.warmup_share,
        weight_decay=settings.weight_decay,
        label_smoothing=settings.label_smoothing,
        logit_offsets=settings.logit_adjustment * log_shares,
        average_steps=settings.average_epochs * steps,
        monitor=settings.monitor,
        patience=settings.patience,
        mixed_precision=settings.mixed_precision,
        seed=settings.seed,
        resume=settings.resume is not None,
    )


def plan(settings: TrainConfig) -> "list[Phase]":
    """Return the phases of a training that have epochs."""
    from models.training import Phase

    full = settings.image_size
    if settings.model == "sequential":
        return [Phase("train", settings.epochs, settings.learning_rate, None, full)]
    from models.transfer import BACKBONES

    small = min(full, max(32, 32 * round(full * settings.small_size_share / 32)))
    # A transformer's position embeddings belong to one size: it learns from that one alone.
    if not BACKBONES[settings.model].takes_any_size:
        small = full
    first = round(settings.epochs * settings.small_epochs_share) if small < full else 0
    layers, rate = settings.fine_tune_layers, settings.learning_rate
    phases = [
        Phase(
            "head",
            settings.head_epochs,
            settings.head_learning_rate,
            0,
            small if first else full,
        ),
        Phase("small", first, rate, layers, small),
        Phase(
            "fine-tune",
            settings.epochs - first,
            rate,
            layers,
            full,
            # A fall of the rate and a new rise in between would unlearn what was learned.
            continues=first > 0,
        ),
    ]
    return [phase for phase in phases if phase.epochs]


def calibrate(
    frame: "pd.DataFrame",
    images: "dict[tuple[str, int], np.ndarray]",
    settings: TrainConfig,
    run_dir: Path,
) -> float:
    """Fit a temperature to the kept model on the validation images, and keep it in its file."""
    import numpy as np

    from data.ham10000 import CLASS_NAMES
    from models.bundle import get_description, load_model, save_model, set_temperature
    from models.calibration import at_temperature_one, fit_temperature
    from models.inference import predict_probabilities

    path = run_dir / "model.keras"
    model = load_model(path)
    labels = frame.loc[frame["split"] == "val", "label"]
    y_true = labels.map({name: place for place, name in enumerate(CLASS_NAMES)}).to_numpy()
    # In batches of the size that training has shown to fit into memory.
    size, pictures = settings.batch_size, images["val", get_description(model).image_size]
    batches = [pictures[start : start + size] for start in range(0, len(pictures), size)]
    y_prob = np.concatenate([predict_probabilities(model, batch) for batch in batches])
    # A resumed run may have been stopped when this was done already.
    y_prob = at_temperature_one(y_prob, get_description(model).temperature)
    temperature = fit_temperature(y_true, y_prob)
    set_temperature(model, temperature)
    save_model(model, path)
    return temperature


def fit_warnings(
    frame: "pd.DataFrame",
    images: "dict[tuple[str, int], np.ndarray]",
    settings: TrainConfig,
    run_dir: Path,
) -> None:
    """Fit what the kept model warns by, and keep it in its file: the confidence below which an
    answer is unsure, and a detector of pictures that are no dermatoscopic ones."""
    import numpy as np

    from data.ham10000 import CLASS_NAMES
    from data.pipeline import scale_batch
    from models.bundle import get_description, load_model, save_model, set_warnings
    from models.calibration import fit_confidence_threshold
    from models.inference import FeatureReader
    from models.novelty import fit_detector

    path = run_dir / "model.keras"
    model = load_model(path)
    read, side = FeatureReader(model), get_description(model).image_size

    def ask(split: str) -> "tuple[np.ndarray, np.ndarray]":
        size, pictures = settings.batch_size, images[split, side]
        starts = range(0, len(pictures), size)
        answers = [read(scale_batch(pictures[start : start + size], side)) for start in starts]
        return np.concatenate([y for y, _ in answers]), np.concatenate([f for _, f in answers])

    detector = fit_detector(ask("train")[1], components=settings.detector_components)
    y_prob, features = ask("val")
    detector = dataclasses.replace(
        detector, threshold=float(np.quantile(detector.score(features), settings.familiar_share))
    )
    labels = frame.loc[frame["split"] == "val", "label"]
    y_true = labels.map({name: place for place, name in enumerate(CLASS_NAMES)}).to_numpy()
    unsure_below = fit_confidence_threshold(y_true, y_prob, accuracy=settings.unsure_accuracy)
    set_warnings(
        model,
        unsure_below=unsure_below,
        unsure_accuracy=settings.unsure_accuracy,
        detector=detector.to_config(),
    )
    save_model(model, path)


def report(
    result: "Result",
    frame: "pd.DataFrame",
    settings: TrainConfig,
    run_dir: Path,
    *,
    temperature: float,
    seconds: float,
) -> None:
    """Draw the learning curves, and print figures, files and what to type next."""
    from metrics.plots import plot_learning_curves
    from metrics.report import save_figure
    from models.progress import format_seconds

    title = f"{settings.model}, {settings.image_size} px, {len(frame)} images"
    figure = plot_learning_curves(result.history, best_epoch=result.best_epoch, title=title)
    save_figure(figure, run_dir / "learning_curves.png")
    model_path = run_dir / "model.keras"
    kept_out = frame.loc[frame["split"] == "test", "path"]
    example = frame["path"] if kept_out.empty else kept_out
    early = ", stopped early" if result.stopped_early else ""
    kept = f"epoch {result.best_epoch} of {len(result.history)}{early}"
    print(f"""
kept {kept}; {format_seconds(seconds)} of training

validation accuracy   {result.best["val_accuracy"]:.3f}
balanced accuracy     {result.best["val_balanced_accuracy"]:.3f}
temperature           {temperature:.3f}
model                 {model_path} ({model_path.stat().st_size / 1e6:.1f} MB)
learning curves       {run_dir / "learning_curves.png"}
history, split        {run_dir / "history.csv"}, {run_dir / "split.csv"}

next:
  python evaluate.py --model_path {model_path}
  python predict.py --model_path {model_path} --image {example.iloc[0]}""")


if __name__ == "__main__":
    config.run(main)
