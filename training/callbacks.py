"""What happens after each step and each epoch of a training."""

from __future__ import annotations

import csv
import sys
import time
import zlib
from collections.abc import Sequence
from typing import NoReturn

import keras
import numpy as np
from keras import ops

from models.bundle import save_model
from support.files import replacing
from support.terminal import Progress, format_seconds
from training import DivergedError
from training.checkpoint import save_checkpoint
from training.early_stopping import EarlyStopping
from training.phases import Phase
from training.run import Run
from training.schedules import LearningRateSchedule


class BestEpoch(keras.callbacks.Callback):
    """Saves the best model, the history and a checkpoint after each epoch, and stops early.

    One object serves all phases of a training.

    Args:
        run: folder of the files.
        early_stopping: chooses the best epoch.
    """

    def __init__(self, run: Run, early_stopping: EarlyStopping) -> None:
        super().__init__()
        self.run, self.early_stopping = run, early_stopping
        self.history: list[dict] = []
        self.best_score, self.best_epoch = -float("inf"), 0
        self.stopped_early = False

    def begin_phase(self, phase: Phase, start: int, *, may_stop: bool) -> None:
        """Announce the next phase.

        Args:
            phase: the phase.
            start: number of epochs before it.
            may_stop: whether early stopping applies.
        """
        self.phase, self.start, self.may_stop = phase, start, may_stop

    def replay(self, rows: list[dict]) -> None:
        """Take over the finished epochs of this phase from a checkpoint."""
        for row in rows:
            self._add(row)

    def _add(self, row: dict) -> bool:
        """Add an epoch to the history; returns whether it is the best so far."""
        self.history.append(row)
        epoch, score = len(self.history), self.early_stopping.score(row)
        is_best = score > self.best_score
        if is_best:
            self.best_score, self.best_epoch = score, epoch
        waited = epoch - max(self.best_epoch, self.start)
        is_last = epoch >= self.start + self.phase.epochs
        out_of_patience = waited >= self.early_stopping.patience
        self.stopped_early = self.may_stop and out_of_patience and not is_last
        return is_best

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Add the epoch and write the files."""
        rate = float(ops.convert_to_numpy(self.model.optimizer.learning_rate))
        row = {"epoch": epoch + 1, "phase": self.phase.name, "learning_rate": rate, **(logs or {})}
        if self._add(row):
            save_model(self.model, self.run.model)
        write_history(self.history, self.run)
        # The checkpoint comes last: resuming from the one before writes the same files again.
        save_checkpoint(self.run.checkpoint, self.model, self.history)
        for listener in self.run.listeners:
            listener(self.history)
        if self.stopped_early:
            self.model.stop_training = True


def write_history(history: list[dict], run: Run) -> None:
    """Write the metrics of all epochs as CSV, whole or not at all."""
    with (
        replacing(run.history) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, fieldnames=history[0])
        writer.writeheader()
        writer.writerows(history)


class StopAtNaN(keras.callbacks.Callback):
    """Stops a training whose loss or weights are NaN or infinite, since it cannot recover.

    It comes before `BestEpoch`, so that no such model is saved.

    Args:
        schedule: of the learning rate, for the message.
        phase: the phase, whose learning rate is too high.
        steps_before: steps of all phases before this one.
    """

    def __init__(self, schedule: LearningRateSchedule, phase: Phase, *, steps_before: int) -> None:
        super().__init__()
        self.schedule, self.phase, self.steps_before = schedule, phase, steps_before

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Remember the epoch."""
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Look at the loss.

        Raises:
            DivergedError: it is NaN or infinite.
        """
        loss = (logs or {}).get("loss", 0.0)
        if not np.isfinite(loss):
            self._stop("a finite loss", loss, batch)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Look at the validation loss and the weights.

        Raises:
            DivergedError: one of them is NaN or infinite.
        """
        loss = (logs or {}).get("val_loss", 0.0)
        if not np.isfinite(loss):
            self._stop("a finite validation loss", loss)
        # NaN in a weight need not reach the loss: max pooling passes it over.
        if not all(np.isfinite(weights).all() for weights in self.model.get_weights()):
            self._stop("finite weights", "NaN or infinity")

    def _stop(self, expected: str, received: object, batch: int = -1) -> NoReturn:
        """Raise the error, by default at the last batch of the epoch."""
        steps = self.params["steps"]
        step = self.epoch * steps + batch % steps
        rate = float(self.schedule(step - self.steps_before))
        raise DivergedError(
            f"expected {expected}, received {received} at step {step + 1} (epoch "
            f"{self.epoch + 1}) with a learning rate of {rate:.2g}; train again with a lower "
            f"{self.phase.learning_rate_setting}"
        )


class DropoutSeeds(keras.callbacks.Callback):
    """Derives the seeds of Dropout from seed and epoch, so that a resumed epoch draws the same.

    Args:
        seed: of the training.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Set the seeds of the epoch."""
        states = [v for v in self.model.variables if v.name == "seed_generator_state"]
        for i, state in enumerate(states):
            state.assign([zlib.crc32(f"{self.seed} {epoch} {i}".encode()), 0])


# Heading and width of each column of `EpochLog`; a line has at most 80 characters.
_LOG_COLUMNS = {
    "loss": ("loss", 8),
    "accuracy": ("acc", 7),
    "val_loss": ("val_loss", 10),
    "val_accuracy": ("val_acc", 9),
    "val_balanced_accuracy": ("val_bal", 9),
}
_LOG_TITLE = 13


class EpochLog(keras.callbacks.Callback):
    """Prints a line of metrics per finished epoch, with a heading for each phase.

    A terminal also shows a progress bar with the time left.

    One object serves all phases of a training.

    Args:
        phases: of the training.
        steps_per_epoch: number of steps in an epoch.
    """

    def __init__(self, phases: Sequence[Phase], steps_per_epoch: int) -> None:
        super().__init__()
        self.phase_names = [phase.name for phase in phases for _ in range(phase.epochs)]
        # The time of a step grows with the number of pixels.
        self.costs = [(phase.image_size or 1) ** 2 for phase in phases for _ in range(phase.epochs)]
        self.steps = steps_per_epoch
        self.shown_phase: str | None = None

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Start the progress bar of the epoch."""
        self.epoch, self.started = epoch, time.monotonic()
        total = len(self.phase_names)
        title = f"epoch {epoch + 1:>{len(str(total))}}/{total}"
        self.progress = Progress(title, stream=sys.stdout)
        phase = self.phase_names[epoch]
        if phase != self.shown_phase:
            self.shown_phase = phase
            heads = "".join(f"{head:>{width}}" for head, width in _LOG_COLUMNS.values())
            print(f"{phase:<{_LOG_TITLE}}{heads}{'time':>12}{'ETA':>12}", flush=True)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Update the progress bar."""
        fraction = (batch + 1) / self.steps
        self.progress.update(
            batch + 1,
            self.steps,
            note=f"loss {(logs or {}).get('loss', float('nan')):.3f}",
            seconds_left=self._seconds_left((time.monotonic() - self.started) / fraction, fraction),
        )

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Print the metrics of the epoch."""
        seconds, logs = time.monotonic() - self.started, logs or {}
        self.progress.clear()
        left = format_seconds(self._seconds_left(seconds, 1.0))
        cells = "".join(f"{logs[key]:>{width}.3f}" for key, (_, width) in _LOG_COLUMNS.items())
        title = f"{self.progress.label:<{_LOG_TITLE}}"
        print(f"{title}{cells}{format_seconds(seconds):>12}{left:>12}", flush=True)

    def _seconds_left(self, epoch_seconds: float, fraction: float) -> float:
        costs = self.costs[self.epoch :]
        return epoch_seconds * (sum(costs) / costs[0] - fraction)
