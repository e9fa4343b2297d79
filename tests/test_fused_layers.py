"""Layers with fewer operations: what Keras computes, and always with the same digits."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from repeating import repeat_gradient

from models.fused_layers import fuse_layers

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
    x, w = (
        tf.constant(rng.normal(3, 2, (7, *shape[1:])), "float32")
        for shape in (model.input_shape, model.output_shape)
    )
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
    fuse_layers(fused)
    for mine, expected in zip(train_step(fused), train_step(other), strict=True):
        assert np.allclose(mine, expected, rtol=1e-4, atol=1e-4)
    images = np.random.default_rng(4).normal(size=(2, 6, 5, 4))
    assert np.allclose(fused(images, training=False), other(images, training=False), atol=1e-4)


def test_the_configuration_stays_so_that_copies_and_files_are_those_of_keras():
    model = build()
    before = model.get_config()
    fuse_layers(model)
    assert model.get_config() == before


@pytest.mark.parametrize("options", [{"scale": False}, {"axis": 1}])
def test_other_layers_are_left_to_keras(options):
    fused, other = build(**options), build(**options)
    fuse_layers(fused)
    for mine, expected in zip(train_step(fused), train_step(other), strict=True):
        assert np.array_equal(mine, expected)


def build_padded(padding, layer: keras.layers.Layer, size: int = 8) -> keras.Model:
    inputs = keras.Input((size, size + 1, 3))
    return keras.Model(inputs, layer(keras.layers.ZeroPadding2D(padding)(inputs)))


def count_paddings(model: keras.Model) -> int:
    """Return how many operations of a model do nothing but pad images."""
    call = tf.function(lambda images: model(images, training=True))
    spec = tf.TensorSpec((2, *model.input_shape[1:]))
    operations = call.get_concrete_function(spec).graph.get_operations()
    return sum(operation.type in ("Pad", "PadV2") for operation in operations)


@pytest.mark.parametrize("convolution", [keras.layers.DepthwiseConv2D, keras.layers.Conv2D])
@pytest.mark.parametrize(
    ("kernel", "padding"),
    # Height 8, width 9: the padding of the `mobilenet_v2` and `efficientnet` of Keras.
    [(3, ((0, 1), (1, 1))), (5, ((1, 2), (2, 2)))],
)
def test_a_convolution_pads_as_the_layer_before_it_did(convolution, kernel, padding):
    filters = {"filters": 4} if convolution is keras.layers.Conv2D else {}
    layer = convolution(**filters, kernel_size=kernel, strides=2, activation="relu")
    model = build_padded(padding, layer)
    before, config = train_step(model), model.get_config()
    assert count_paddings(model) == 1
    for _ in range(2):  # once for each phase
        fuse_layers(model)
        assert count_paddings(model) == 0
    for mine, expected in zip(train_step(model), before, strict=True):
        assert np.allclose(mine, expected, rtol=1e-5, atol=1e-5)
    assert model.get_config() == config
    assert count_paddings(keras.models.clone_model(model)) == 1


def test_a_backbone_trains_without_paddings():
    model = keras.applications.MobileNetV2(input_shape=(32, 32, 3), weights=None, include_top=False)
    assert count_paddings(model) == 4
    fuse_layers(model)
    assert count_paddings(model) == 0


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.Conv2D(2, 3, strides=2, padding="same"),
        keras.layers.Conv2D(2, 3, strides=2),
        keras.layers.Conv2D(2, 3, dilation_rate=2),
        keras.layers.Conv2D(2, 7, strides=2),
        keras.layers.MaxPooling2D(2),
    ],
)
def test_a_padding_that_no_convolution_can_do_stays(layer):
    model = build_padded(1, layer)
    fuse_layers(model)
    assert count_paddings(model) == 1


def test_a_padding_whose_images_have_another_use_stays():
    inputs = keras.Input((8, 8, 3))
    padded = keras.layers.ZeroPadding2D(((0, 1), (0, 1)))(inputs)
    outputs = keras.layers.Conv2D(2, 3, strides=2)(padded)
    for other in (padded, keras.layers.Conv2D(2, 3)(padded)):
        model = keras.Model(inputs, [outputs, other])
        fuse_layers(model)
        assert count_paddings(model) == 1


def test_a_padding_or_a_convolution_that_is_used_twice_stays():
    padding = keras.layers.ZeroPadding2D(((0, 1), (0, 1)))
    convolution = keras.layers.Conv2D(3, 3, strides=2)
    inputs = keras.Input((8, 8, 3))
    for middle in (padding, keras.layers.ZeroPadding2D(1)):
        model = keras.Model(inputs, convolution(middle(convolution(padding(inputs)))))
        before = train_step(model)
        fuse_layers(model)
        assert all(map(np.array_equal, train_step(model), before))


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
