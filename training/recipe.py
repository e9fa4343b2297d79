"""A training from labels to a calibrated model: `train`, and its steps in order."""

from __future__ import annotations

import dataclasses
import datetime
import time
from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
import pandas as pd

from config import TrainConfig
from data.augmentation import AugmentationSettings, build_augmentation
from data.balance import balance_sources
from data.classes import ClassScheme, scheme_of_model
from data.provenance import count_sources, name_folder
from data.splits import write_split
from data.targets import class_fractions, class_indices, class_weights, one_hot
from metrics.plots import plot_learning_curves
from metrics.png import save_figure
from models import WeightsUnavailableError
from models.applications import find_backbone
from models.backend import check_mixed_precision, choose_strategy
from models.bundle import get_description, load_model, update_description
from models.description import are_synthetic
from models.factory import build_model
from models.field_checks import MAX_NAME_LENGTH
from models.initial import copy_weights
from models.transfer import unfreeze
from support.cli import naming_flag
from support.files import one_line
from training.calibration import calibrate
from training.dataset import LabeledImages
from training.decoding import Images, decode
from training.distillation import load_teachers
from training.early_stopping import EarlyStopping
from training.events import EventLog
from training.facts import list_facts, list_image_facts
from training.initial import describe_images, describe_start, match_classes
from training.loop import Result, TrainingData, train_model
from training.losses import LogitAdjustedCrossentropy
from training.phases import plan_phases
from training.run import Run
from training.schedules import OptimizerSettings
from training.settings import read_initial_model


@dataclass(frozen=True)
class Outcome:
    """A finished training.

    Attributes:
        result: history and best epoch.
        frame: rows of the images that were used, with their split.
        skipped: number of images that could not be read.
        temperature: of the saved model.
        seconds: duration of fitting and calibration.
    """

    result: Result
    frame: pd.DataFrame
    skipped: int
    temperature: float
    seconds: float


def train(settings: TrainConfig, labeled: LabeledImages, run: Run) -> Outcome:
    """Train, calibrate and save a model.

    Args:
        settings: of the training.
        labeled: the images, split.
        run: the run folder, which is created; or that of an interrupted run, which resumes.

    Raises:
        DataError: images cannot be used.
        ModelError: the model cannot be built.
        TrainingError: the run cannot resume, or was interrupted.
    """
    classes = labeled.classes
    model, device = build(settings, run, classes)
    images, unreadable = decode(labeled.frame, settings)
    frame = labeled.frame.drop(index=unreadable)
    last_size = plan_phases(settings)[-1].image_size
    image_facts = list_image_facts(frame, {s: images[s][last_size] for s in images})
    sources = count_sources(frame[frame["split"] == "train"], "")
    taught = [teacher.description for teacher in labeled.teachers]
    facts = list_facts(classes, labeled.initial, taught, sources)
    if run.is_started:
        with naming_flag("--resume"):
            run.check_images(image_facts, facts)
    else:
        run.start(settings, image_facts, lambda path: write_split(frame, path), facts)
    print(describe_split(frame, settings))
    print(
        f"Model: {settings.model}, {model.count_params():,} parameters, {settings.image_size} px, "
        f"on {device}.",
        flush=True,
    )
    started = time.monotonic()
    with run.explaining_interruption():
        events = EventLog(run.logs) if settings.tensorboard else None
        if events:
            run.listeners.append(events.write_history)
        labeled = dataclasses.replace(labeled, frame=frame)
        describe_data(model, labeled, settings)
        result = fit(model, labeled, images, settings, run)
        validation_rows = frame[frame["split"] == "val"]
        y_true = class_indices(validation_rows["label"], classes.names)
        temperature = calibrate(
            run.model,
            images["train"],
            images["val"],
            y_true,
            validation_rows["data_set"].tolist(),
            validation_rows["lesion_id"].tolist(),
            settings,
        )
        title = f"{settings.model}, {settings.image_size} px, {len(frame):,} images"
        figure = plot_learning_curves(result.history, best_epoch=result.best_epoch, title=title)
        save_figure(figure, run.learning_curves)
        if events:
            _complete(events, result, images, y_true, settings, run)
        run.finish()
    seconds = time.monotonic() - started
    return Outcome(result, frame, len(unreadable), temperature, seconds)


def build(settings: TrainConfig, run: Run, classes: ClassScheme) -> tuple[keras.Model, str]:
    """Build the model of a training; returns it and the device that it runs on.

    Args:
        settings: of the training.
        run: its folder; if it has a checkpoint, initial weights are not loaded.
        classes: of its outputs.

    Raises:
        ModelError: the model cannot be built, or the device not be used.
    """
    if settings.mixed_precision:
        with naming_flag("--mixed_precision"):
            check_mixed_precision()
    with naming_flag("--batch_size"):
        strategy, device = choose_strategy(settings.strategy, batch_size=settings.batch_size)
    keras.utils.set_random_seed(settings.seed)
    random = settings.weights == "none" or run.checkpoint.exists()
    try:
        with strategy.scope():
            model = build_model(
                settings.model,
                image_size=settings.image_size,
                class_names=classes.names,
                weights=None if random else settings.weights,
                dropout=settings.dropout,
                batch_norm_momentum=settings.batch_norm_momentum,
                mixed_precision=settings.mixed_precision,
            )
            if settings.init_from is not None and not run.checkpoint.exists():
                _start_from(model, settings.init_from, classes)
    except WeightsUnavailableError as error:
        remedy = "--weights PATH, or --weights none"
        raise WeightsUnavailableError(f"--weights: {error} ({remedy})") from error
    if find_backbone(settings.model):
        # Too many layers are reported now, not after the head phase.
        with naming_flag("--fine_tune_layers"):
            unfreeze(model, settings.fine_tune_layers)
    return model, device


def _start_from(model: keras.Model, init_from: str, classes: ClassScheme) -> None:
    """Copy the weights of a model of this project, and print which."""
    path, _ = read_initial_model(init_from)
    with naming_flag("--init_from"):
        source = load_model(path)
        matches = match_classes(classes, scheme_of_model(get_description(source)))
        copy_weights(source, model, matches)
    print(describe_start(path, get_description(model).model, matches), flush=True)


def describe_split(frame: pd.DataFrame, settings: TrainConfig) -> str:
    """Say how many images each split has, and what is in no two of them."""
    train, val, test = (f"{(frame['split'] == s).sum():,}" for s in ("train", "val", "test"))
    line = f"Split: {train} train / {val} validation / {test} test images"
    if frame.groupby("group")["split"].nunique().max() == 1:
        kept = "lesion or patient" if "patient_id" in frame else "lesion"
        line += f", no {kept} in two splits"
    if settings.folds:
        line += f" (fold {settings.fold} of 0 to {settings.folds - 1})"
    return f"{line}."


def describe_data(model: keras.Model, labeled: LabeledImages, settings: TrainConfig) -> None:
    """Describe in a model which data it is trained on."""
    frame, classes, earlier = labeled.frame, labeled.classes, labeled.earlier
    known = frame[frame["split"] != "test"]
    sources = {name: n for description in earlier for name, n in description.sources.items()}
    update_description(
        model,
        malignant=classes.malignant,
        class_titles=dict(classes.titles),
        class_aliases=dict(classes.aliases),
        data_name=name_data(settings, [description.data_name for description in earlier]),
        date=datetime.date.today().isoformat(),
        synthetic=are_synthetic(known["image_id"].tolist(), known["lesion_id"].tolist())
        or any(description.synthetic for description in earlier),
        sources=sources | count_sources(frame[frame["split"] == "train"], ""),
        **describe_images(frame, earlier),
    )


def fit(
    model: keras.Model, labeled: LabeledImages, images: Images, settings: TrainConfig, run: Run
) -> Result:
    """Train the model on the decoded images.

    Args:
        model: from `build`.
        labeled: the images, in their order.
        images: from `decode`.
        settings: of the training.
        run: its folder.
    """
    frame, classes = labeled.frame, labeled.classes
    train_rows, validation_rows = (frame[frame["split"] == split] for split in ("train", "val"))
    labels = train_rows["label"]
    draws = balance_sources(train_rows["data_set"], settings.source_balance)
    if draws:
        print(f"Training images (drawn in an epoch): {draws.describe()}.", flush=True)
    per_image = draws.per_image() if draws else None
    weights = class_weights(labels, settings.class_weights, classes.names, per_image)
    log_fractions = np.log(class_fractions(labels, classes.names, per_image))
    return train_model(
        model,
        TrainingData(
            train_images=images["train"],
            train_targets=one_hot(labels, classes.names),
            train_weights=labels.map(weights).to_numpy(np.float32),
            validation_images=images["val"],
            validation_targets=one_hot(validation_rows["label"], classes.names),
            batch_size=settings.batch_size,
            seed=settings.seed,
            draws=draws,
            teachers=load_teachers(model, labeled.teachers, settings, len(train_rows)),
        ),
        phases=plan_phases(settings),
        loss=LogitAdjustedCrossentropy(
            settings.logit_adjustment * log_fractions, settings.label_smoothing
        ),
        augmentation=augmentation_settings(settings),
        optimizer=OptimizerSettings(
            schedule=settings.lr_schedule,
            warmup_fraction=settings.warmup_fraction,
            weight_decay=settings.weight_decay,
            average_epochs=settings.average_epochs,
            mixed_precision=settings.mixed_precision,
        ),
        early_stopping=EarlyStopping(settings.monitor, settings.patience),
        run=run,
    )


def name_data(settings: TrainConfig, earlier: Sequence[str] = ()) -> str:
    """Return the names of the data folders, without their paths, which are nobody's business.

    Args:
        settings: of the training.
        earlier: the same of the models that the training starts from or learns from.
    """
    names = map(name_folder, (settings.data_dir, *settings.extra_data_dir))
    names = dict.fromkeys([*(n for text in earlier for n in text.split(" + ")), *names])
    return one_line(" + ".join(filter(None, names)))[:MAX_NAME_LENGTH]


def augmentation_settings(settings: TrainConfig) -> AugmentationSettings:
    """Return the augmentation of a training."""
    names = [item.name for item in dataclasses.fields(AugmentationSettings)]
    return AugmentationSettings(**{name: getattr(settings, name) for name in names})


def _complete(
    events: EventLog,
    result: Result,
    images: Images,
    y_true: np.ndarray,
    settings: TrainConfig,
    run: Run,
) -> None:
    """Write what a killed training could not, and the images at the end of the training."""
    events.write_history(result.history)
    size = plan_phases(settings)[-1].image_size
    augmentation = build_augmentation(augmentation_settings(settings), size)
    events.write_augmented(images["train"][size], augmentation, settings.seed, len(result.history))
    events.write_confusion_matrix(
        run.model, images["val"], y_true, settings.batch_size, result.best_epoch
    )
