"""Fit a model, phase by phase, and save its best epoch.

Each phase has its own optimizer, image size, and learning-rate schedule, unless it continues the
one before. Small images teach most of what large ones do in a fraction of the time: Touvron et al.,
*Fixing the train-test resolution discrepancy*, 2019, arXiv:1906.06423; Howard, 2018,
https://www.fast.ai/posts/2018-04-30-dawnbench-fastai.html.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from data.augmentation import AugmentationSettings, build_augmentation
from data.balance import SourceDraws
from data.pipeline import count_steps, even_batch_size, make_dataset
from models.fused_layers import fuse_layers
from models.transfer import at_size, unfreeze
from support.cli import naming_flag
from training.callbacks import BestEpoch, DropoutSeeds, EpochLog, StopAtNaN
from training.checkpoint import Checkpoint, load_checkpoint, restore
from training.distillation import Teachers
from training.early_stopping import EarlyStopping
from training.losses import BalancedAccuracy
from training.phases import Phase, schedule_epochs
from training.run import Run
from training.schedules import OptimizerSettings


@dataclass(frozen=True)
class TrainingData:
    """Decoded images and their targets, batched at the image size of each phase.

    Attributes:
        train_images: uint8 `[images, size, size, 3]` by the image size of a phase; stored somewhat
            larger, for the augmentation to crop.
        train_targets: float32 `[images, classes]`, one-hot.
        train_weights: float32 `[images]`, weight of each image in the loss.
        validation_images: uint8 `[images, size, size, 3]` by image size.
        validation_targets: float32 `[images, classes]`, one-hot.
        batch_size: images per step.
        seed: of shuffling, augmentation and dropout.
        draws: how often the training images of each source are drawn; None for each image once.
        teachers: models whose predictions for the training images are targets as well.
    """

    train_images: dict[int, np.ndarray]
    train_targets: np.ndarray
    train_weights: np.ndarray
    validation_images: dict[int, np.ndarray]
    validation_targets: np.ndarray
    batch_size: int
    seed: int = 0
    draws: SourceDraws | None = None
    teachers: Teachers | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches in an epoch."""
        return count_steps(len(self.train_targets), self.batch_size)

    def train_batches(
        self, image_size: int, augmentation: AugmentationSettings, *, first_epoch: int
    ) -> tf.data.Dataset:
        """Return endless augmented batches `(images, targets, weights)`.

        Args:
            image_size: of the phase.
            augmentation: of the images.
            first_epoch: number of finished epochs.
        """
        return make_dataset(
            self.train_images[image_size],
            self.train_targets,
            weights=self.train_weights,
            batch_size=self.batch_size,
            augmentation=build_augmentation(augmentation, image_size),
            draws=self.draws,
            seed=self.seed,
            first_epoch=first_epoch,
        )

    def validation_batches(self, image_size: int, *, devices: int) -> tf.data.Dataset:
        """Return the batches `(images, targets)` of one pass over the validation images.

        Args:
            image_size: of the phase.
            devices: number of devices that share a batch.
        """
        batch_size = even_batch_size(
            len(self.validation_targets), batch_size=self.batch_size, devices=devices
        )
        images = self.validation_images[image_size]
        return make_dataset(images, self.validation_targets, batch_size=batch_size)


@dataclass(frozen=True)
class Result:
    """The outcome of a training.

    Attributes:
        history: one dict per epoch, the rows of `history.csv`.
        best_epoch: number of the best epoch, from 1.
        stopped_early: whether `patience` ended the training.
    """

    history: list[dict]
    best_epoch: int
    stopped_early: bool

    @property
    def best(self) -> dict:
        """The row of the best epoch."""
        return self.history[self.best_epoch - 1]


def train_model(
    model: keras.Model,
    data: TrainingData,
    *,
    phases: Sequence[Phase],
    loss: keras.losses.Loss,
    augmentation: AugmentationSettings,
    optimizer: OptimizerSettings,
    early_stopping: EarlyStopping,
    run: Run,
) -> Result:
    """Train a model in phases and save its best epoch in the run folder.

    The saved model has the image size of the phase that its epoch belongs to. Randomness in a step
    depends on seed, epoch and step alone. If the run has a checkpoint, training resumes from it, to
    the same history and weights as without the interruption.

    Args:
        model: from `build_model`, its split described; has the last weights afterwards.
        data: images and targets.
        phases: in order; those without epochs are skipped.
        loss: of a batch of probabilities.
        augmentation: of the training images.
        optimizer: settings of Adam and its schedule.
        early_stopping: chooses the best epoch.
        run: an existing folder; receives model, history and checkpoint.

    Returns:
        The history and the best epoch.

    Raises:
        ValueError: no phase has an epoch.
        DivergedError: a loss or a weight is NaN or infinite.
        TrainingError: the checkpoint does not fit the model.
    """
    phases = [phase for phase in phases if phase.epochs > 0]
    if not phases:
        raise ValueError("expected at least one epoch, received none")
    checkpoint = load_checkpoint(run.checkpoint)
    if checkpoint:
        restore(model.variables, checkpoint.model)
    best, log = BestEpoch(run, early_stopping), EpochLog(phases, data.steps_per_epoch)
    full_size_model, end = model, 0
    for index, phase in enumerate(phases):
        start, end = end, end + phase.epochs
        image_size = phase.image_size or full_size_model.input_shape[1]
        if image_size != model.input_shape[1]:
            model = at_size(model, image_size)
        best.begin_phase(phase, start, may_stop=phase is phases[-1])
        if checkpoint:
            best.replay(checkpoint.history[start:end])
        finished = len(best.history)
        if finished == end or best.stopped_early:
            continue
        callbacks = _prepare(
            model,
            phases,
            index,
            loss=loss,
            optimizer=optimizer,
            steps_per_epoch=data.steps_per_epoch,
            checkpoint=checkpoint if finished > start else None,
        )
        if data.teachers:
            data.teachers.attach(model)
        callbacks = [DropoutSeeds(data.seed), *callbacks, best, log]
        _fit(model, data, augmentation, epochs=range(finished, end), callbacks=callbacks)
    if model is not full_size_model:
        full_size_model.set_weights(model.get_weights())
    return Result(best.history, best.best_epoch, best.stopped_early)


def _prepare(
    model: keras.Model,
    phases: Sequence[Phase],
    index: int,
    *,
    loss: keras.losses.Loss,
    optimizer: OptimizerSettings,
    steps_per_epoch: int,
    checkpoint: Checkpoint | None,
) -> list[keras.callbacks.Callback]:
    """Freeze layers and compile for a phase; returns its callbacks.

    With a checkpoint from inside the phase, its state is restored.
    """
    phase = phases[index]
    if phase.backbone_layers is not None:
        unfreeze(model, phase.backbone_layers, batch_norm_trains=phase.train_batch_norm)
    fuse_layers(model)
    first_step, total_steps = (n * steps_per_epoch for n in schedule_epochs(phases, index))
    schedule = optimizer.build_schedule(
        phase.learning_rate, total_steps=total_steps, first_step=first_step
    )
    # A new head starts from random weights, which are not worth averaging.
    average_steps = (
        0.0 if phase.backbone_layers == 0 else optimizer.average_epochs * steps_per_epoch
    )
    averaging = [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if average_steps > 0 else []
    # The variables of optimizer and metrics belong to the devices of the model.
    with model.distribute_strategy.scope():
        model.compile(
            optimizer=optimizer.build_optimizer(schedule, average_steps=average_steps),
            auto_scale_loss=False,
            loss=loss,
            metrics=["accuracy", BalancedAccuracy(model.output_shape[-1])],
        )
        if checkpoint:
            model.optimizer.build(model.trainable_variables)
    if checkpoint:
        for callback in averaging:
            # The checkpoint was saved at the end of an epoch, with the averages in the model.
            callback.set_model(model)
            callback.on_test_begin()
        restore(model.variables, checkpoint.model)
        restore(model.optimizer.variables, checkpoint.optimizer)
    steps_before = steps_per_epoch * sum(phase.epochs for phase in phases[:index])
    # The weights at the end of an epoch are those with the averages swapped in.
    return [*averaging, StopAtNaN(schedule, phase, steps_before=steps_before)]


def _fit(
    model: keras.Model,
    data: TrainingData,
    augmentation: AugmentationSettings,
    *,
    epochs: range,
    callbacks: list[keras.callbacks.Callback],
) -> None:
    """Train a compiled model for some epochs at its own image size."""
    image_size = model.input_shape[1]
    devices = model.distribute_strategy.num_replicas_in_sync
    with naming_flag("--batch_size"):
        validation_batches = data.validation_batches(image_size, devices=devices)
    model.fit(
        data.train_batches(image_size, augmentation, first_epoch=epochs.start),
        validation_data=validation_batches,
        initial_epoch=epochs.start,
        epochs=epochs.stop,
        steps_per_epoch=data.steps_per_epoch,
        callbacks=callbacks,
        shuffle=False,
        verbose=0,
    )
