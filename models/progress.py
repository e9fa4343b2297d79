"""How far training is, and how long it will still take."""

import sys
import time

import keras

_BAR_WIDTH = 24


class Progress(keras.callbacks.Callback):
    """Shows a bar with the time left, and leaves one line for each finished epoch.

    Where the output is not a terminal, only the lines are written. One object serves all phases
    of a training.

    Args:
        phases: `models.training.Phase` objects, for their names, lengths and sizes of pictures.
        steps_per_epoch: steps of each epoch.
    """

    def __init__(self, phases: list, steps_per_epoch: int) -> None:
        super().__init__()
        self.phase_of = [phase.name for phase in phases for _ in range(phase.epochs)]
        # The time of a step grows with the number of pixels.
        self.cost_of = [
            (phase.image_size or 1) ** 2 for phase in phases for _ in range(phase.epochs)
        ]
        self.steps = steps_per_epoch
        self.redrawn = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.epoch = epoch
        self.started = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        now = time.monotonic()
        if not sys.stdout.isatty() or now - self.redrawn < 0.2:
            return
        self.redrawn = now
        share = (batch + 1) / self.steps
        filled = round(share * _BAR_WIDTH)
        bar = "█" * filled + "░" * (_BAR_WIDTH - filled)
        loss = (logs or {}).get("loss", float("nan"))
        left = self._time_left((now - self.started) / share, share)
        print(f"\r{self._title()} {bar}  loss {loss:.3f}  {left} left ", end="\x1b[K", flush=True)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        took = time.monotonic() - self.started
        logs = logs or {}
        erase = "\r\x1b[K" if sys.stdout.isatty() else ""
        left = self._time_left(took, 1.0)
        print(
            f"{erase}{self._title()} loss {logs['loss']:.3f}  accuracy {logs['accuracy']:.3f} | "
            f"validation: loss {logs['val_loss']:.3f}  accuracy {logs['val_accuracy']:.3f}  "
            f"balanced {logs['val_balanced_accuracy']:.3f} | {format_seconds(took)}, {left} left",
            flush=True,
        )

    def _title(self) -> str:
        total = len(self.phase_of)
        return f"epoch {self.epoch + 1:>{len(str(total))}}/{total} {self.phase_of[self.epoch]:<9}"

    def _time_left(self, epoch_seconds: float, share: float) -> str:
        costs = self.cost_of[self.epoch :]
        return format_seconds(epoch_seconds * (sum(costs) / costs[0] - share))


def format_seconds(seconds: float) -> str:
    """Write a duration as people read it: `48 s`, `12 min`, `1 h 05 min`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
