"""Learning from the predictions of other models."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny

from models.bundle import ClassProbabilities, load_model
from models.factory import build_model
from training.distillation import SoftTargets, Teachers
from training.losses import LogitAdjustedCrossentropy
from training.phases import Phase

pytestmark = pytest.mark.usefixtures("shallow_baseline")

NAMES = ("a", "b", "c")
P = np.array([[0.7, 0.2, 0.1]], np.float32)
Q = np.array([[0.1, 0.6, 0.3]], np.float32)


def constant_model(y_prob, class_names=NAMES, image_size: int = 8) -> keras.Model:
    """Return a model that predicts the same for all images."""
    inputs = keras.Input((image_size, image_size, 3))
    x = keras.layers.GlobalAveragePooling2D()(inputs)
    bias = keras.initializers.Constant(np.log(y_prob))
    x = keras.layers.Dense(len(y_prob), kernel_initializer="zeros", bias_initializer=bias)(x)
    description = {"model": "tiny", "class_names": class_names, "image_size": image_size}
    return keras.Model(inputs, ClassProbabilities(description)(x))


def test_soft_targets_are_the_divergence_at_a_temperature():
    def divergence(first, second, temperature):
        return float(SoftTargets(temperature).call(first, second)[0])

    assert divergence(P, Q, 1.0) == pytest.approx((P * np.log(P / Q)).sum(), rel=1e-5)
    p, q = (np.sqrt(values) / np.sqrt(values).sum() for values in (P, Q))
    expected = 4 * (p * np.log(p / q)).sum()
    assert divergence(P, Q, 2.0) == pytest.approx(expected, rel=1e-5)
    assert divergence(P, P, 3.0) == pytest.approx(0, abs=1e-6)


def test_teachers_take_turns_and_predict_in_the_order_of_the_students_classes():
    models = [constant_model([0.7, 0.2, 0.1]), constant_model([0.5, 0.4, 0.1], ("c", "a", "b"))]
    teachers = Teachers(models, NAMES, fraction=0.5, temperature=2.0)
    images = np.zeros((2, 8, 8, 3), np.float32)
    for turn, expected in enumerate([[0.7, 0.2, 0.1], [0.4, 0.1, 0.5], [0.7, 0.2, 0.1]]):
        assert np.allclose(teachers.predict(images, turn), [expected] * 2, atol=1e-6)


def test_a_teacher_sees_images_at_its_own_size():
    model = build_model("sequential", image_size=32, class_names=NAMES)
    teachers = Teachers([model], NAMES, fraction=0.5, temperature=2.0)
    images = np.random.default_rng(0).uniform(0, 255, (2, 16, 16, 3)).astype(np.float32)
    doubled = tf.image.resize(images, (32, 32)).numpy()
    expected = model.predict_on_batch(doubled)
    assert np.allclose(teachers.predict(images, 0), expected, atol=1e-5)


def test_the_training_loss_is_a_mix_and_the_validation_loss_that_of_the_labels():
    student = constant_model(Q[0])
    loss = LogitAdjustedCrossentropy(np.zeros(3))
    # As on a GPU: XLA cannot scale the images for a teacher of another size.
    student.compile(optimizer=keras.optimizers.SGD(0.0), loss=loss, jit_compile=True)
    teacher = constant_model(P[0], image_size=16)
    teachers = Teachers([teacher], NAMES, fraction=0.25, temperature=2.0)
    # A model is trained in several phases.
    teachers.attach(student)
    teachers.attach(student)
    images = np.zeros((2, 8, 8, 3), np.float32)
    targets, weights = np.eye(3, dtype=np.float32)[[1, 2]], np.array([0.5, 2.0], np.float32)
    hard = -np.log(Q[0][[1, 2]])
    soft = float(SoftTargets(2.0).call(P, Q)[0])
    found = student.train_on_batch(images, targets, sample_weight=weights)
    expected = (weights * (0.75 * hard + 0.25 * soft)).mean()
    assert found == pytest.approx(expected, rel=1e-4)
    found = student.test_on_batch(images, targets, sample_weight=weights)
    assert found == pytest.approx((weights * hard).mean(), rel=1e-4)


def test_a_student_learns_what_its_teacher_predicts_and_the_teacher_stays_as_it_is():
    student, teacher = constant_model(Q[0]), constant_model(P[0])
    student.compile(
        optimizer=keras.optimizers.Adam(0.1), loss=LogitAdjustedCrossentropy(np.zeros(3))
    )
    before = [weights.copy() for weights in teacher.get_weights()]
    count = len(student.trainable_variables)
    Teachers([teacher], NAMES, fraction=1.0, temperature=2.0).attach(student)
    assert len(student.trainable_variables) == count
    images, targets = np.ones((4, 8, 8, 3), np.float32), np.eye(3, dtype=np.float32)[[2] * 4]
    for _ in range(100):
        student.train_on_batch(images, targets)
    assert np.allclose(student.predict_on_batch(images)[0], P[0], atol=0.02)
    assert all(map(np.array_equal, before, teacher.get_weights()))


def test_a_student_of_several_teachers_learns_their_mean():
    student = constant_model([1 / 3] * 3)
    student.compile(
        optimizer=keras.optimizers.SGD(0.5), loss=LogitAdjustedCrossentropy(np.zeros(3))
    )
    models = [constant_model(P[0]), constant_model(Q[0])]
    Teachers(models, NAMES, fraction=1.0, temperature=1.0).attach(student)
    images, targets = np.zeros((4, 8, 8, 3), np.float32), np.eye(3, dtype=np.float32)[[0] * 4]
    found = [
        student.train_on_batch(images, targets) and student.predict_on_batch(images)[0]
        for _ in range(60)
    ]
    assert np.allclose(np.mean(found[-20:], axis=0), (P + Q)[0] / 2, atol=0.02)


def fit(folder):
    """Train a tiny model with two teachers, in two phases of different image sizes."""
    keras.utils.set_random_seed(0)
    models = [constant_model([0.8, 0.2], tiny.CLASSES), constant_model([0.4, 0.6], tiny.CLASSES)]
    teachers = Teachers(models, tiny.CLASSES, fraction=0.5, temperature=2.0)
    data = replace(tiny.tiny_data(6, 8), teachers=teachers)
    phases = [Phase("head", 1, 1e-3, image_size=6), Phase("train", 3, 2e-3)]
    return tiny.fit(folder, model=tiny.tiny_model(), data=data, phases=phases)


@pytest.mark.slow
def test_a_stopped_distillation_resumes_to_the_same_history_and_weights(tmp_path, monkeypatch):
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    expected = fit(tmp_path / "whole")
    with tiny.stopping_after(2, monkeypatch):
        fit(tmp_path / "stopped")
    resumed = fit(tmp_path / "stopped")
    assert resumed.history == expected.history
    first, second = (load_model(tmp_path / n / "model.keras") for n in ("whole", "stopped"))
    assert all(map(np.array_equal, first.get_weights(), second.get_weights()))
