"""Fit a model on given data sets: the phases, the best epoch, the history."""

import csv
import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from keras import ops

from models import DivergedError
from models.bundle import save_model
from models.checkpoint import load_state, restore, save_state
from models.progress import Progress
from models.schedules import LearningRateSchedule
from models.transfer import at_size, unfreeze

MODEL_FILE = "model.keras"
HISTORY_FILE = "history.csv"


@dataclass(frozen=True)
class Phase:
    """A stretch of training with one set of learning layers.

    Attributes:
        name: for people.
        epochs: its length.
        learning_rate: the highest of its schedule.
        backbone_layers: how many of the backbone's last layers learn, -1 all; None for a model
            without backbone.
        image_size: side of the pictures in this phase; None for the model's own.
        continues: whether it goes on along the learning-rate schedule of the phase before, and has
            none of its own.
    """

    name: str
    epochs: int
    learning_rate: float
    backbone_layers: int | None = None
    image_size: int | None = None
    continues: bool = False


@dataclass(frozen=True)
class Result:
    """What training came to.

    Attributes:
        history: one dict an epoch, the rows of `history.csv`.
        best_epoch: number of the epoch whose weights were kept, from 1.
        stopped_early: whether `patience` ended the training.
    """

    history: list[dict]
    best_epoch: int
    stopped_early: bool

    @property
    def best(self) -> dict:
        """The row of the best epoch."""
        return self.history[self.best_epoch - 1]


class BalancedAccuracy(keras.metrics.Metric):
    """Mean recall over the classes that occur (`sklearn.metrics.balanced_accuracy_score`)."""

    def __init__(self, class_count: int, name: str = "balanced_accuracy") -> None:
        super().__init__(name=name)
        self.right = self.add_variable((class_count,), initializer="zeros", name="right")
        self.total = self.add_variable((class_count,), initializer="zeros", name="total")

    def update_state(self, y_true, y_prob, sample_weight=None) -> None:
        """Count a batch: `y_true` one-hot, `y_prob` probabilities, both `[batch, classes]`."""
        y_true = ops.cast(y_true, "float32")
        hit = ops.equal(ops.argmax(y_true, axis=-1), ops.argmax(y_prob, axis=-1))
        hit = ops.cast(hit, "float32")[:, None]
        self.right.assign_add(ops.sum(y_true * hit, axis=0))
        self.total.assign_add(ops.sum(y_true, axis=0))

    def result(self):
        recall = self.right / ops.maximum(self.total, 1.0)
        present = ops.cast(self.total > 0, "float32")
        return ops.sum(recall) / ops.maximum(ops.sum(present), 1.0)


class AdjustedCrossentropy(keras.losses.Loss):
    """Categorical cross-entropy of logits to which an offset for each class is added.

    With log class shares as offsets the logits of rare classes have to be higher to fit the
    training data, and without the offsets, in use, they are: Menon et al., *Long-tail learning
    via logit adjustment* (2021), arXiv:2007.07314, equation 9.

    Args:
        offsets: float `[classes]`.
        label_smoothing: probability spread over all classes, in [0, 1).
    """

    def __init__(self, offsets: np.ndarray, label_smoothing: float) -> None:
        super().__init__(name="crossentropy")
        self.offsets = np.asarray(offsets, np.float32)
        self.label_smoothing = label_smoothing

    def call(self, y_true, y_prob):
        """Return the loss of each image, `[batch]`; both arguments `[batch, classes]`."""
        # The logarithm of a softmax gives the logits up to a constant, which does not matter.
        logits = ops.log(ops.maximum(y_prob, 1e-9)) + self.offsets
        return keras.losses.categorical_crossentropy(
            y_true, logits, from_logits=True, label_smoothing=self.label_smoothing
        )


def train_model(
    model: keras.Model,
    make_training_data: Callable,
    make_validation_data: Callable,
    *,
    phases: Sequence[Phase],
    steps_per_epoch: int,
    run_dir: str | os.PathLike,
    batch_norm_trains: bool = False,
    lr_schedule: str = "cosine",
    warmup_share: float = 0.1,
    weight_decay: float = 0.0,
    label_smoothing: float = 0.0,
    logit_offsets: np.ndarray | None = None,
    average_steps: float = 0.0,
    monitor: str = "balanced_accuracy",
    patience: int = 10,
    mixed_precision: bool = False,
    seed: int = 0,
    resume: bool = False,
) -> Result:
    """Train a model in phases and keep its best epoch as `model.keras` in the run directory.

    Each phase has its own Adam, its own learning-rate schedule unless it continues the one before,
    and, if it says so, its own size of pictures: small ones teach most of what large ones do in a
    fraction of the time (Touvron et al., *Fixing the train-test resolution discrepancy*, 2019,
    arXiv:1906.06423; Howard, 2018, https://www.fast.ai/posts/2018-04-30-dawnbench-fastai.html).
    The kept model has the size of the phase that its epoch belongs to. What is random in a step
    depends on seed, epoch and step alone. After each epoch the state is written as well, and a
    training that was stopped goes on from there to the same history and the same weights.

    Args:
        model: from `build_model`, its split set; holds the last weights afterwards.
        make_training_data: takes the side of the pictures and the number of finished epochs,
            returns an endless `tf.data.Dataset` of `(images, one-hot targets[, weights])`.
        make_validation_data: takes the side of the pictures, returns a finite data set of
            `(images, one-hot targets)`.
        phases: in order; those of no epochs are left out.
        steps_per_epoch: batches taken from the training data for an epoch.
        run_dir: an existing folder; receives `model.keras`, `history.csv` and `resume.npz`.
        batch_norm_trains: whether the BatchNorm of learning backbone layers learns, too.
        lr_schedule: `cosine` or `constant`.
        warmup_share: share of a schedule's steps in which the rate rises.
        weight_decay: Adam's decoupled weight decay per step, relative to the learning rate.
        label_smoothing: probability spread over all classes, in [0, 1).
        logit_offsets: float `[classes]`, added to the logits in the loss, of training and of
            validation; none without it.
        average_steps: the model that is validated and kept has the exponential moving average of
            the weights over about this many steps, but in a phase of the head alone; 0 for the
            weights themselves.
        monitor: `loss` or `balanced_accuracy`, of the validation data: chooses the best epoch.
        patience: epochs of the last phase without a new best until training stops.
        mixed_precision: whether the model computes in float16, so that the loss must be scaled.
        seed: of dropout.
        resume: whether to go on from the state in the run directory, if it has one; all other
            arguments have to be those of the run that was stopped.

    Returns:
        The history and the best epoch.

    Raises:
        ValueError: no phase has an epoch, or the monitor is unknown.
        DivergedError: the loss is no longer a number.
        ModelError: the state in the run directory does not fit.
    """
    phases = [phase for phase in phases if phase.epochs > 0]
    if not phases:
        raise ValueError("training needs at least one epoch, received none")
    offsets = np.zeros(model.output_shape[-1]) if logit_offsets is None else logit_offsets
    state = load_state(run_dir) if resume else None
    if state:
        restore(model.variables, state.model)
    keeper = _BestEpoch(Path(run_dir), monitor=monitor, patience=patience)
    progress = Progress(phases, steps_per_epoch)
    end = 0
    whole, side = model, model.input_shape[1]
    for place, phase in enumerate(phases):
        start, end = end, end + phase.epochs
        size = phase.image_size or side
        if size != model.input_shape[1]:
            model = at_size(model, size)
        keeper.enter(phase, start, may_stop=phase is phases[-1])
        if state:
            keeper.remember(state.history[start:end])
        finished = len(keeper.history)
        if finished == end or keeper.stopped_early:
            continue
        if phase.backbone_layers is not None:
            unfreeze(model, phase.backbone_layers, batch_norm_trains=batch_norm_trains)
        # Head weights average badly: they come from random ones.
        average = phase.backbone_layers != 0 and average_steps > 0
        averaging = [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if average else []
        first_step, steps = (n * steps_per_epoch for n in _epochs_of_schedule(phases, place))
        schedule = LearningRateSchedule(
            schedule=lr_schedule,
            peak=phase.learning_rate,
            total_steps=steps,
            warmup_steps=round(steps * warmup_share),
            first_step=first_step,
        )
        # Optimizer and metrics have variables, which belong to the devices of the model.
        with model.distribute_strategy.scope():
            optimizer = keras.optimizers.Adam(
                schedule,
                weight_decay=weight_decay or None,
                use_ema=average,
                ema_momentum=1 - 1 / max(average_steps, 1.0),
            )
            if mixed_precision:
                # Small gradients would vanish in float16. Keras does this by itself only where the
                # whole model has that precision, which the head has not. And steps with too large
                # a scale are left out: from Keras's 32,768 a short phase may have no others, and
                # end with averages of nothing.
                optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=1024.0)
            model.compile(
                optimizer=optimizer,
                auto_scale_loss=False,
                loss=AdjustedCrossentropy(offsets, label_smoothing),
                metrics=["accuracy", BalancedAccuracy(model.output_shape[-1])],
            )
            if finished > start:
                optimizer.build(model.trainable_variables)
        if finished > start:
            for callback in averaging:
                # The state has the averages in the model, as an epoch ends; let it know.
                callback.set_model(model)
                callback.on_test_begin()
            restore(model.variables, state.model)
            restore(model.optimizer.variables, state.optimizer)
        flag = "--head_learning_rate" if phase.backbone_layers == 0 else "--learning_rate"
        watch = _StopAtNaN(schedule, first_step=start * steps_per_epoch, flag=flag)
        model.fit(
            make_training_data(size, finished),
            validation_data=make_validation_data(size),
            initial_epoch=finished,
            epochs=end,
            steps_per_epoch=steps_per_epoch,
            callbacks=[_EpochSeeds(seed), watch, *averaging, keeper, progress],
            shuffle=False,
            verbose=0,
        )
    if model is not whole:
        whole.set_weights(model.get_weights())
    return Result(keeper.history, keeper.best_epoch, keeper.stopped_early)


def _epochs_of_schedule(phases: Sequence[Phase], place: int) -> tuple[int, int]:
    """Return how many epochs of a phase's schedule come before it, and how many there are."""
    first = place
    while first and phases[first].continues:
        first -= 1
    last = place + 1
    while last < len(phases) and phases[last].continues:
        last += 1
    epochs = [one.epochs for one in phases]
    return sum(epochs[first:place]), sum(epochs[first:last])


class _StopAtNaN(keras.callbacks.Callback):
    """Ends a training whose loss is no longer a number: nothing good comes of it any more."""

    def __init__(self, schedule: LearningRateSchedule, *, first_step: int, flag: str) -> None:
        super().__init__()
        self.flag = flag
        self.schedule = schedule
        self.first_step = first_step

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if np.isfinite((logs or {}).get("loss", 0.0)):
            return
        step = self.epoch * self.params["steps"] + batch
        rate = float(self.schedule(step - self.first_step))
        raise DivergedError(
            f"the loss became {logs['loss']} in step {step + 1} (epoch {self.epoch + 1}) at a "
            f"learning rate of {rate:.2g}; train anew with a lower {self.flag}"
        )


class _EpochSeeds(keras.callbacks.Callback):
    """Sets the seeds of Dropout from seed and epoch, so that a resumed epoch draws the same."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        states = [v for v in self.model.variables if v.name == "seed_generator_state"]
        for place, state in enumerate(states):
            state.assign([zlib.crc32(f"{self.seed} {epoch} {place}".encode()), 0])


class _BestEpoch(keras.callbacks.Callback):
    """Writes best model, history and state after each epoch; stops when nothing improves."""

    def __init__(self, run_dir: Path, *, monitor: str, patience: int) -> None:
        super().__init__()
        signs = {"loss": -1.0, "balanced_accuracy": 1.0}
        if monitor not in signs:
            raise ValueError(f"monitor should be one of {', '.join(signs)}, received {monitor!r}")
        self.run_dir = run_dir
        self.monitor, self.sign, self.patience = f"val_{monitor}", signs[monitor], patience
        self.history: list[dict] = []
        self.best_score, self.best_epoch = -float("inf"), 0
        self.stopped_early = False

    def enter(self, phase: Phase, start: int, *, may_stop: bool) -> None:
        self.phase, self.start, self.may_stop = phase, start, may_stop

    def remember(self, rows: list[dict]) -> None:
        """Take over the finished epochs of this phase from an earlier process."""
        for row in rows:
            self._judge(row)

    def _judge(self, row: dict) -> bool:
        """Add an epoch to the history; returns whether it is the best so far."""
        self.history.append(row)
        epoch, score = len(self.history), self.sign * row[self.monitor]
        better = score > self.best_score
        if better:
            self.best_score, self.best_epoch = score, epoch
        waited = epoch - max(self.best_epoch, self.start)
        ended = epoch >= self.start + self.phase.epochs
        self.stopped_early = self.may_stop and waited >= self.patience and not ended
        return better

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        rate = float(ops.convert_to_numpy(self.model.optimizer.learning_rate))
        row = {"epoch": epoch + 1, "phase": self.phase.name, "learning_rate": rate, **(logs or {})}
        if self._judge(row):
            save_model(self.model, self.run_dir / MODEL_FILE)
        _write_history(self.history, self.run_dir / HISTORY_FILE)
        # Last: whoever goes on from the state of the epoch before writes the same files again.
        save_state(self.model, self.history, self.run_dir)
        if self.stopped_early:
            self.model.stop_training = True


def _write_history(history: list[dict], path: Path) -> None:
    part = path.with_name(path.name + ".part")
    try:
        with part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=history[0])
            writer.writeheader()
            writer.writerows(history)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
