"""A program that fails unless the gradient of BatchNormalization has the same digits every time."""

_PROGRAM = """
import numpy as np
from models.backend import start_tensorflow
start_tensorflow(one_at_a_time={one_at_a_time})
import keras, tensorflow as tf
from models.fused_layers import fuse_layers
rng = np.random.default_rng(0)
x, w = (tf.constant(rng.normal(size=(32, 64, 64, 96)), "float32") for _ in range(2))
model = keras.Sequential([keras.Input((64, 64, 96)), keras.layers.BatchNormalization()])
if {fused}:
    fuse_layers(model)
@tf.function
def gradient():
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = model(x, training=True)
        loss = tf.reduce_sum(y * w)
    return y, tape.gradient(loss, x)
found = {{gradient()[1].numpy().tobytes() for _ in range(40)}}
assert len(found) == 1, len(found)
"""


def repeat_gradient(*, one_at_a_time: bool, fused: bool) -> str:
    """Return the program.

    Args:
        one_at_a_time: whether operations run one after the other.
        fused: whether the layer is a single operation.
    """
    return _PROGRAM.format(one_at_a_time=one_at_a_time, fused=fused)
