"""Knowledge distillation: a model learns the predictions of others along with the labels.

Hinton et al., *Distilling the Knowledge in a Neural Network* (2015), arXiv:1503.02531. The teachers
see each image as the student sees it, augmented: Beyer et al., *Knowledge distillation: A good
teacher is patient and consistent* (2022), arXiv:2106.05237.
"""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from config import TrainConfig
from data.pipeline import count_steps
from models.bundle import get_description, load_model
from models.litert_runner import LiteRunner, build_runner
from support.cli import naming_flag
from support.files import list_names
from support.terminal import format_seconds
from training.phases import plan_phases
from training.teachers import Teacher


def load_teachers(
    student: keras.Model, teachers: Sequence[Teacher], settings: TrainConfig, image_count: int
) -> Teachers | None:
    """Load the teachers of a model, and print how long asking them takes; None without teachers.

    Args:
        student: the model.
        teachers: found and checked.
        settings: of the training.
        image_count: number of training images.

    Raises:
        ModelError: a file cannot be loaded.
    """
    if not teachers:
        return None
    with naming_flag("--teacher"), student.distribute_strategy.scope():
        loaded = Teachers(
            [load_model(teacher.path) for teacher in teachers],
            get_description(student).class_names,
            fraction=settings.distillation_fraction,
            temperature=settings.distillation_temperature,
        )
    epochs = Counter()
    for phase in plan_phases(settings):
        epochs[phase.image_size] += phase.epochs
    seconds = count_steps(image_count, settings.batch_size) * sum(
        count * loaded.time_batch(size, settings.batch_size) for size, count in epochs.items()
    )
    names = list_names((teacher.description.model for teacher in teachers), 5)
    print(
        f"Teachers: {names}; their predictions add about {format_seconds(seconds)} to the "
        "training.",
        flush=True,
    )
    return loaded


class SoftTargets(keras.losses.Loss):
    """Divergence of a student's probabilities from those of its teachers, at a temperature.

    The Kullback-Leibler divergence times the squared temperature, with which its gradients are as
    large as those of the cross-entropy at any temperature (Hinton et al. 2015, section 2).

    Args:
        temperature: above 1, it raises the weight of improbable classes.
    """

    def __init__(self, temperature: float) -> None:
        super().__init__(name="soft_targets")
        self.temperature = temperature

    def call(self, y_true, y_prob):
        """Return the loss of each image, `[batch]`; both arguments are `[batch, classes]`."""
        wanted, found = (
            ops.log_softmax(ops.log(ops.maximum(values, 1e-9)) / self.temperature)
            for values in (y_true, y_prob)
        )
        return self.temperature**2 * ops.sum(ops.exp(wanted) * (wanted - found), axis=-1)


class Teachers:
    """Models whose probabilities a student learns, one model per step, in turn.

    The soft targets are in the loss linearly, so the mean of the gradients over the teachers is the
    gradient of their mean targets: several teachers cost no more than one.

    Args:
        models: from `load_model`, whose classes are those of the student in any order.
        class_names: of the student, in order.
        fraction: of the teachers in the loss, 0..1; the rest is that of the labels.
        temperature: see `SoftTargets`.
    """

    def __init__(
        self,
        models: Sequence[keras.Model],
        class_names: Sequence[str],
        *,
        fraction: float,
        temperature: float,
    ) -> None:
        self._members = []
        for model in models:
            # A part of the student's step, not of its weights.
            model.trainable = False
            names = get_description(model).class_names
            runner = build_runner(model)
            self._members.append((model, runner, [names.index(name) for name in class_names]))
        self._fraction, self._loss = fraction, SoftTargets(temperature)

    def attach(self, student: keras.Model) -> None:
        """Let a compiled model learn from the teachers, too; validation counts labels alone.

        Args:
            student: is trained on the images that the teachers are asked about.
        """
        # That of the class: a model is compiled once for each phase.
        compute_hard = functools.partial(type(student).compute_loss, student)
        fraction, soft = self._fraction, self._loss

        def compute_loss(x=None, y=None, y_pred=None, sample_weight=None, training=True):
            loss = compute_hard(
                x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training
            )
            if not training:
                return loss
            wanted = tf.stop_gradient(self.predict(x, student.optimizer.iterations))
            return (1 - fraction) * loss + fraction * soft(wanted, y_pred, sample_weight)

        student.compute_loss = compute_loss
        # XLA, which Keras chooses on a GPU, has no operation that scales images for a teacher.
        student.jit_compile = False

    def predict(self, images: tf.Tensor, turn: tf.Tensor | int) -> tf.Tensor:
        """Return the probabilities of the teacher whose turn it is.

        It sees the images at its own size. A network that is asked at another size predicts worse
        than on images that are scaled to its own, even if these are blurred.

        Args:
            images: float32 `[images, size, size, 3]`, 0..255.
            turn: number of the step, an integer.

        Returns:
            float32 `[images, classes]`, in the order of the student's classes.
        """
        index = tf.cast(turn, tf.int32) % len(self._members)
        return tf.switch_case(
            index, [functools.partial(_predict, images, *member) for member in self._members]
        )

    def time_batch(self, image_size: int, batch_size: int) -> float:
        """Return how many seconds a batch takes, as the mean over the teachers.

        Args:
            image_size: side length of the images, pixels.
            batch_size: number of images.
        """
        predict = tf.function(self.predict)
        images = tf.constant(np.full((batch_size, image_size, image_size, 3), 127.0, np.float32))
        turns = [tf.constant(turn) for turn in range(len(self._members))]
        for turn in turns:
            predict(images, turn)  # the first call of each compiles or allocates
        started = time.monotonic()
        for turn in turns:
            predict(images, turn).numpy()
        return (time.monotonic() - started) / len(turns)


def _predict(
    images: tf.Tensor, model: keras.Model, runner: LiteRunner | None, columns: list[int]
) -> tf.Tensor:
    """Return the probabilities of one teacher; see `Teachers.predict`."""
    size = model.input_shape[1]
    if size != images.shape[1]:
        images = tf.image.resize(images, (size, size), antialias=True)
    if runner is None:
        y_prob = tf.cast(model(images, training=False), tf.float32)
    else:
        y_prob = tf.numpy_function(runner, [images], tf.float32)
        y_prob.set_shape((None, model.output_shape[-1]))
    return tf.gather(y_prob, columns, axis=1)
