"""What TensorBoard shows of a training: event files, written without its package.

`keras.callbacks.TensorBoard` and `tf.summary.scalar` need the package `tensorboard`, and do not
know what an interrupted training has written. The names of curves and folders are the callback's.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from data.augmentation import Augmentation
from metrics.errors import confusion_counts
from metrics.plots import plot_confusion_matrix
from metrics.png import render_png
from models.classifier import load_classifier
from support.files import first_line, make_folder
from training.calibration import predict_batches

Event, Summary = tf.compat.v1.Event, tf.compat.v1.Summary

_TRAIN, _VALIDATION = "train", "validation"
_VALIDATION_PREFIX = "val_"
# Columns of the history that are no curves.
_NO_CURVES = ("epoch", "phase")
# Of the grid of augmented images.
_ROWS = 5


class EventLog:
    """Writes the event files of a run, and resumes those of an interrupted one.

    Args:
        folder: of the files; gets the folders `train` and `validation`.

    Raises:
        OSError: an earlier event file cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._written = {part: _read_written(folder / part) for part in (_TRAIN, _VALIDATION)}
        self._writers: dict[str, tf.io.TFRecordWriter] = {}

    def write_history(self, history: Sequence[dict]) -> None:
        """Write the curves of all epochs that are not written yet.

        Args:
            history: rows of `history.csv`.

        Raises:
            OSError: they cannot be written.
        """
        for row in history:
            curves: dict[str, dict[str, float]] = {_TRAIN: {}, _VALIDATION: {}}
            for name, value in row.items():
                if name not in _NO_CURVES:
                    part = _VALIDATION if name.startswith(_VALIDATION_PREFIX) else _TRAIN
                    tag = f"epoch_{name.removeprefix(_VALIDATION_PREFIX)}"
                    curves[part][tag] = float(value)
            for part, values in curves.items():
                summaries = [Summary.Value(tag=t, simple_value=v) for t, v in values.items()]
                self._write(part, row["epoch"], summaries)

    def write_confusion_matrix(
        self,
        model_path: Path,
        images: dict[int, np.ndarray],
        y_true: np.ndarray,
        batch_size: int,
        epoch: int,
    ) -> None:
        """Write the confusion matrix of a saved model.

        Args:
            model_path: the model.
            images: of the validation, uint8 `[images, size, size, 3]` by image size.
            y_true: int `[images]`, their classes.
            batch_size: that of the training.
            epoch: of the model.

        Raises:
            OSError: it cannot be written.
        """
        classifier = load_classifier(model_path)
        names, size = classifier.description.class_names, classifier.description.image_size
        y_prob, _ = predict_batches(classifier, images[size], batch_size)
        counts = confusion_counts(y_true, y_prob, len(names))
        figure = plot_confusion_matrix(counts, names, title=f"validation images, epoch {epoch}")
        self._write_image(_VALIDATION, "confusion_matrix", render_png(figure), epoch)

    def write_augmented(
        self, images: np.ndarray, augmentation: Augmentation, seed: int, epoch: int
    ) -> None:
        """Write a square of training images as the model gets them.

        Args:
            images: of the training, uint8 `[images, size, size, 3]`; some of them are taken.
            augmentation: of the training.
            seed: of the training.
            epoch: to show them at.

        Raises:
            OSError: it cannot be written.
        """
        chosen = np.linspace(0, len(images) - 1, _ROWS**2).astype(int)
        augmented = augmentation(tf.constant(images[chosen]), seed=seed, step=0).numpy()
        grid = augmented.reshape(_ROWS, _ROWS, *augmented.shape[1:]).swapaxes(1, 2)
        size = _ROWS * augmented.shape[1]
        pixels = grid.reshape(size, size, 3).round().clip(0, 255).astype(np.uint8)
        png = tf.io.encode_png(pixels).numpy()
        self._write_image(_TRAIN, "augmented_images", png, epoch)

    def _write_image(self, part: str, tag: str, png: bytes, step: int) -> None:
        # Bytes 16 to 24 of a PNG.
        width, height = np.frombuffer(png, ">u4", 2, offset=16).tolist()
        image = Summary.Image(width=width, height=height, colorspace=3, encoded_image_string=png)
        self._write(part, step, [Summary.Value(tag=tag, image=image)])

    def _write(self, part: str, step: int, values: list) -> None:
        """Append the values of a step that are not written yet."""
        values = [value for value in values if (value.tag, step) not in self._written[part]]
        if not values:
            return
        with _naming(self.folder):
            if part not in self._writers:
                make_folder(self.folder / part)
                # TensorBoard reads the files of a folder in the order of their names.
                path = self.folder / part / f"events.out.tfevents.{time.time_ns()}"
                self._writers[part] = tf.io.TFRecordWriter(str(path))
                self._append(part, Event(file_version="brain.Event:2"))
            self._append(part, Event(step=step, summary=Summary(value=values)))
            self._writers[part].flush()
        self._written[part].update((value.tag, step) for value in values)

    def _append(self, part: str, event: Event) -> None:
        event.wall_time = time.time()
        self._writers[part].write(event.SerializeToString())


def _read_written(folder: Path) -> set[tuple[str, int]]:
    """Return the tags and steps in the event files of a folder."""
    found = set()
    for path in sorted(folder.glob("events.out.tfevents.*")):
        # The last event is cut off if the training was killed while it was written.
        with _naming(path), contextlib.suppress(tf.errors.DataLossError):
            for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
                event = Event.FromString(record)
                found |= {(value.tag, event.step) for value in event.summary.value}
    return found


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Make the errors of TensorFlow, of which one means a full disk, those of a file."""
    try:
        yield
    except tf.errors.DataLossError:
        raise
    except tf.errors.OpError as error:
        raise OSError(f"{path}: {first_line(error)}") from error
