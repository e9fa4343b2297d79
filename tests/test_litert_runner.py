import keras
import numpy as np
import pytest

from models.factory import build_model
from models.litert_runner import LiteRunner, build_runner


@pytest.mark.parametrize(
    "name", [pytest.param("mobilenet", marks=pytest.mark.slow), "efficientnet_lite"]
)
def test_a_batch_of_any_size_has_the_probabilities_of_keras(name, shallow_efficientnet_lite):
    keras.utils.set_random_seed(0)
    model = build_model(name, image_size=32, class_names=("a", "b", "c"), weights=None)
    rng = np.random.default_rng(0)
    # Moving statistics of zero and one, as in a new model, would hide a missing normalization.
    for weights in model.weights:
        if "moving" in weights.name:
            weights.assign(rng.uniform(0.5, 1.5, weights.shape))
    runner = LiteRunner(model)
    for count in (3, 1, 3):
        images = rng.uniform(0, 255, (count, 32, 32, 3)).astype(np.float32)
        assert np.allclose(runner(images), model.predict_on_batch(images), atol=1e-5)


def test_a_model_that_cannot_be_converted_is_left_to_keras():
    class Cholesky(keras.layers.Layer):
        def call(self, images):
            matrix = keras.ops.matmul(
                images[..., 0], keras.ops.transpose(images[..., 0], (0, 2, 1))
            )
            return keras.ops.cholesky(matrix + keras.ops.eye(8))[:, 0]

    inputs = keras.Input((8, 8, 3))
    assert build_runner(keras.Model(inputs, Cholesky()(inputs))) is None
