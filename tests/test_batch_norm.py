"""BatchNormalization as one operation: what Keras computes, and always with the same digits."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from repeating import repeat_gradient

from models.batch_norm import fuse_batch_norm

ROOT = Path(__file__).parent.parent


def build(**options) -> keras.Model:
    inner = keras.Sequential(
        [keras.Input((6, 5, 4)), keras.layers.BatchNormalization(momentum=0.8, **options)]
    )
    inputs = keras.Input((6, 5, 4))
    model = keras.Model(inputs, inner(inputs))
    rng = np.random.default_rng(2)
    model.set_weights([rng.uniform(0.5, 2, weights.shape) for weights in model.get_weights()])
    return model


def train_step(model: keras.Model) -> list[np.ndarray]:
    """Return the outputs of a training step, its gradients, and the moving statistics after it."""
    rng = np.random.default_rng(3)
    x, w = (tf.constant(rng.normal(3, 2, (7, 6, 5, 4)), "float32") for _ in range(2))
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = model(x, training=True)
        loss = tf.reduce_sum(outputs * w)
    variables = [variable.value for variable in model.trainable_variables]
    gradients = tape.gradient(loss, [x, *variables])
    return [outputs.numpy(), *(g.numpy() for g in gradients), *model.get_weights()]


@pytest.mark.parametrize("trainable", [True, False])
def test_it_computes_what_keras_does(trainable):
    fused, other = build(), build()
    fused.trainable = other.trainable = trainable
    fuse_batch_norm(fused)
    for mine, expected in zip(train_step(fused), train_step(other), strict=True):
        assert np.allclose(mine, expected, rtol=1e-4, atol=1e-4)
    images = np.random.default_rng(4).normal(size=(2, 6, 5, 4))
    assert np.allclose(fused(images, training=False), other(images, training=False), atol=1e-4)


def test_the_configuration_stays_so_that_copies_and_files_are_those_of_keras():
    model = build()
    before = model.get_config()
    fuse_batch_norm(model)
    assert model.get_config() == before


@pytest.mark.parametrize("options", [{"scale": False}, {"axis": 1}])
def test_other_layers_are_left_to_keras(options):
    fused, other = build(**options), build(**options)
    fuse_batch_norm(fused)
    for mine, expected in zip(train_step(fused), train_step(other), strict=True):
        assert np.array_equal(mine, expected)


@pytest.mark.slow
def test_gradients_repeat_exactly_though_operations_run_in_parallel():
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_NUM_INTEROP_THREADS": "4"}
    done = subprocess.run(
        [sys.executable, "-c", repeat_gradient(one_at_a_time=False, fused=True)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_trainings_repeat_exactly_though_operations_run_in_parallel(sample_dir, tmp_path):
    command = [sys.executable, "train.py", "--data_dir", str(sample_dir), "--weights", "none"]
    command += ["--image_size", "64", "--batch_size", "16", "--head_epochs", "1", "--epochs", "2"]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_NUM_INTEROP_THREADS": "4"}
    found = set()
    for name in ("one", "two"):
        subprocess.run(
            [*command, "--output_dir", str(tmp_path / name)],
            cwd=ROOT,
            env=environment,
            check=True,
            capture_output=True,
        )
        (history,) = (tmp_path / name).glob("*/history.csv")
        found.add(history.read_bytes())
    assert len(found) == 1
